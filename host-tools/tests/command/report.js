// What a browser makes of the page: written into it, for the test to read.
{
  const name = element => element.id || element.getAttribute('aria-label') || element.getAttribute('aria-labelledby') ||
    String(element.className.baseVal ?? element.className) || element.tagName;
  const charts = [...document.querySelectorAll('svg[role=img]')];
  const undrawn = [], unsaid = [], outside = [];
  for (const chart of charts) {
    const place = chart.getBoundingClientRect();
    const marks = [...chart.querySelectorAll('line, polyline, polygon, rect, circle, path, text')];
    const drawn = marks.filter(mark => {
      const { width, height } = mark.getBoundingClientRect();
      return width > 0 || height > 0;
    });
    if (place.width < 50 || place.height < 20 || drawn.length === 0) undrawn.push(name(chart));
    for (const mark of marks) {
      const { left, right, width } = mark.getBoundingClientRect();
      if (width > 0 && (left < -1 || right > innerWidth + 1)) outside.push(name(chart) + ': ' + (mark.textContent || mark.tagName));
    }
    const by = chart.getAttribute('aria-labelledby'), described = chart.getAttribute('aria-describedby');
    const title = by ? document.getElementById(by)?.textContent : chart.getAttribute('aria-label');
    const text = described ? document.getElementById(described)?.textContent : title;
    if (!title?.trim() || !/\d/.test(text ?? '')) unsaid.push(name(chart));
  }
  for (const picture of document.images) {
    const { width, height } = picture.getBoundingClientRect();
    if (!picture.complete || picture.naturalWidth === 0 || width < 5 || height < 5) undrawn.push(picture.alt);
    if (!picture.alt.trim()) unsaid.push('picture');
  }
  for (const element of document.querySelectorAll('body *:not(svg *):not(input)')) {
    const { left, right, width } = element.getBoundingClientRect();
    if (width > 0 && (left < -1 || right > innerWidth + 1)) outside.push(name(element));
  }
  const map = document.querySelector('figure[data-samples] svg');
  const dot = map?.querySelector('.points circle')?.getBoundingClientRect();
  if (dot) map.dispatchEvent(new PointerEvent('pointermove', { clientX: dot.x + dot.width / 2, clientY: dot.y + dot.height / 2 }));
  const probe = document.querySelector('.probe');
  const [red] = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
  const findings = document.createElement('pre');
  findings.id = 'findings';
  findings.textContent = JSON.stringify({
    problems, width: innerWidth, page: document.documentElement.scrollWidth, charts: charts.length,
    undrawn, unsaid, outside, dark: red < 128, probe: !!probe && !probe.hidden && /sample \d/.test(probe.textContent),
  });
  document.body.append(findings);
}
