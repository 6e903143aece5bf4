// The page says everything without this: here are only the picture under the pointer and the switch's memory.
(() => {
  const inputs = document.querySelectorAll('.theme input');
  try {
    const kept = localStorage.getItem('narrows-theme');
    inputs.forEach(input => {
      if (input.value === kept) input.checked = true;
      input.addEventListener('change', () => localStorage.setItem('narrows-theme', input.value));
    });
  } catch { /* a page from a file may have no memory */ }

  document.querySelectorAll('figure[data-samples]').forEach(map => {
    const svg = map.querySelector('svg[role=img]'), ring = svg.querySelector('.ring');
    const probe = map.querySelector('.probe'), [view, text] = probe.children;
    const samples = map.dataset.samples.split(' ');
    const dots = [...svg.querySelectorAll('.points circle')].map(dot =>
      ({ x: dot.cx.baseVal.value, y: dot.cy.baseVal.value, group: dot.parentNode.dataset.group }));
    const { columns, rows, length, signals } = map.dataset;
    const values = signals && Uint8Array.from(atob(signals), letter => letter.charCodeAt(0));
    const hide = () => { probe.hidden = true; ring.setAttribute('visibility', 'hidden'); };
    const show = event => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      let best = -1, least = 18 * 18;
      dots.forEach((dot, index) => {
        const distance = (dot.x - at.x) ** 2 + (dot.y - at.y) ** 2;
        if (distance < least) [best, least] = [index, distance];
      });
      if (best < 0) return hide();
      const dot = dots[best];
      ring.setAttribute('cx', dot.x);
      ring.setAttribute('cy', dot.y);
      ring.setAttribute('visibility', 'visible');
      text.textContent = 'sample ' + samples[best] + (dot.group ? ', label ' + dot.group : '');
      if (values) {
        const points = [];
        for (let place = 0; place < length; place++)
          points.push(place / (length - 1) * 100 + ',' + (38 - values[best * length + place] / 255 * 36));
        view.firstElementChild.setAttribute('points', points.join(' '));
      } else {
        view.style.backgroundPosition =
          best % columns / Math.max(columns - 1, 1) * 100 + '% ' +
          Math.floor(best / columns) / Math.max(rows - 1, 1) * 100 + '%';
      }
      // The sample stands on the side where the pointer is not.
      probe.style.left = at.x > 220 ? '1.1rem' : 'auto';
      probe.style.right = at.x > 220 ? 'auto' : '1.1rem';
      probe.hidden = false;
    };
    svg.addEventListener('pointermove', show);
    svg.addEventListener('pointerdown', show);
    svg.addEventListener('pointerleave', event => { if (event.pointerType === 'mouse') hide(); });
  });
})();
