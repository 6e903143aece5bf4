//! How well scores tell odd samples from normal ones, whatever the threshold.

/// A receiver operating characteristic. A sample counts as odd from the threshold on: `score >= threshold`.
#[derive(Clone, Debug, PartialEq)]
pub struct Roc {
    /// One for each distinct score, from the highest to the lowest, after one that no score reaches.
    pub points: Vec<Point>,
    /// The area under the curve: the probability that an odd sample scores higher than a normal one, where a tie counts one
    /// half (the statistic of Mann and Whitney, 1947, divided by the number of pairs). It is counted in whole numbers and
    /// rounded once.
    pub auc: f64,
}

/// What a threshold does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// From this score on a sample counts as odd; infinity in the first point.
    pub threshold: f64,
    /// The share of normal samples that count as odd.
    pub false_positive_rate: f64,
    /// The share of odd samples that do.
    pub true_positive_rate: f64,
}

impl Roc {
    /// The curve of `scores`, of which those at `odd` are of odd samples. None where a kind is absent, where a score is not
    /// a number, or where there are not as many of the one as of the other.
    #[must_use]
    pub fn of(scores: &[f64], odd: &[bool]) -> Option<Self> {
        let positives = odd.iter().filter(|odd| **odd).count();
        let negatives = odd.len() - positives;
        if scores.len() != odd.len()
            || positives == 0
            || negatives == 0
            || scores.iter().any(|score| score.is_nan())
        {
            return None;
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let mut points = vec![Point {
            threshold: f64::INFINITY,
            false_positive_rate: 0.0,
            true_positive_rate: 0.0,
        }];
        let (mut hits, mut alarms, mut half_pairs) = (0, 0, 0u128);
        // Zeros of either sign are one score.
        for group in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
            let odd = group.iter().filter(|index| odd[**index]).count();
            let normal = group.len() - odd;
            // Each normal sample loses against the odd ones above it, and draws with those beside it.
            half_pairs += normal as u128 * (2 * hits + odd) as u128;
            (hits, alarms) = (hits + odd, alarms + normal);
            points.push(Point {
                threshold: scores[group[0]],
                false_positive_rate: alarms as f64 / negatives as f64,
                true_positive_rate: hits as f64 / positives as f64,
            });
        }
        let pairs = positives as u128 * negatives as u128;
        Some(Self {
            points,
            auc: half_pairs as f64 / (2 * pairs) as f64,
        })
    }

    /// The points where the curve turns, the first and the last among them: the same curve, of far fewer points.
    #[must_use]
    pub fn corners(&self) -> Vec<Point> {
        let direction = |from: &Point, to: &Point| {
            (
                to.false_positive_rate > from.false_positive_rate,
                to.true_positive_rate > from.true_positive_rate,
            )
        };
        let mut corners: Vec<Point> = Vec::new();
        for (index, point) in self.points.iter().enumerate() {
            let turns = match (index.checked_sub(1), self.points.get(index + 1)) {
                (Some(before), Some(after)) => {
                    let before = direction(&self.points[before], point);
                    // Where both rates rise at once, for a tie, the slope may be any.
                    before == (true, true) || before != direction(point, after)
                }
                _ => true,
            };
            if turns {
                corners.push(*point);
            }
        }
        corners
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_area_of_perfect_reversed_and_useless_scores_is_known() {
        let odd = [true, true, false, false, false];
        let auc = |scores: [f64; 5]| Roc::of(&scores, &odd).unwrap().auc;
        assert_eq!(auc([9.0, 8.0, 1.0, 2.0, 3.0]), 1.0);
        assert_eq!(auc([1.0, 2.0, 9.0, 8.0, 7.0]), 0.0);
        assert_eq!(auc([4.0; 5]), 0.5);
        assert_eq!(auc([0.0, -0.0, 0.0, -0.0, 0.0]), 0.5);
        assert_eq!(auc([5.0, 3.0, 5.0, 1.0, 1.0]), 4.5 / 6.0);
    }

    #[test]
    fn the_curve_has_a_point_for_each_score_and_ends_in_the_corners() {
        let roc = Roc::of(&[5.0, 3.0, 5.0, 1.0], &[true, true, false, false]).unwrap();
        let points: Vec<_> = roc
            .points
            .iter()
            .map(|point| {
                (
                    point.threshold,
                    point.false_positive_rate,
                    point.true_positive_rate,
                )
            })
            .collect();
        assert_eq!(
            points,
            [
                (f64::INFINITY, 0.0, 0.0),
                (5.0, 0.5, 0.5),
                (3.0, 0.5, 1.0),
                (1.0, 1.0, 1.0)
            ]
        );
        assert_eq!(roc.corners(), roc.points);
        let scores = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0];
        let long = Roc::of(&scores, &[true, true, true, false, false, true]).unwrap();
        let thresholds: Vec<f64> = long.corners().iter().map(|point| point.threshold).collect();
        assert_eq!(thresholds, [f64::INFINITY, 7.0, 5.0, 4.0]);
    }

    #[test]
    fn without_both_kinds_or_with_a_score_that_is_no_number_there_is_no_curve() {
        assert_eq!(Roc::of(&[], &[]), None);
        assert_eq!(Roc::of(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(Roc::of(&[1.0, 2.0], &[false, false]), None);
        assert_eq!(Roc::of(&[1.0, 2.0], &[true]), None);
        assert_eq!(Roc::of(&[1.0, f64::NAN], &[true, false]), None);
    }

    proptest! {
        #[test]
        fn the_area_is_that_of_all_pairs_and_that_under_the_curve(
            samples in prop::collection::vec((0u8..9, any::<bool>()), 2..60),
        ) {
            let scores: Vec<f64> = samples.iter().map(|(score, _)| f64::from(*score)).collect();
            let odd: Vec<bool> = samples.iter().map(|(_, odd)| *odd).collect();
            let of_kind = |kind: bool| samples.iter().filter(move |(_, odd)| *odd == kind);
            let pairs = of_kind(true).flat_map(|(a, _)| of_kind(false).map(move |(b, _)| (a, b)));
            let won = pairs.map(|(a, b)| match a.cmp(b) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            });
            let won: Vec<f64> = won.collect();
            let Some(roc) = Roc::of(&scores, &odd) else {
                prop_assert!(won.is_empty());
                return Ok(());
            };
            prop_assert_eq!(roc.auc, won.iter().sum::<f64>() / won.len() as f64);
            let area: f64 = roc.points.windows(2).map(|pair| {
                let width = pair[1].false_positive_rate - pair[0].false_positive_rate;
                width * (pair[0].true_positive_rate + pair[1].true_positive_rate) / 2.0
            }).sum();
            prop_assert!((roc.auc - area).abs() < 1e-12);
        }
    }
}
