//! What is told to Prometheus.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use osc_admission::Outcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// All metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reviews: Family<ResultLabel, Counter>,
    duration: Histogram,
    certificate: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Changed, "changed"),
    (Outcome::Unchanged, "unchanged"),
    (Outcome::Refused, "refused"),
    (Outcome::Malformed, "malformed"),
    (Outcome::NoReview, "no_review"),
];

impl Default for Metrics {
    fn default() -> Self {
        // From 50 microseconds to three seconds, which is when a question is given up.
        let duration = Histogram::new(exponential_buckets(0.000_05, 2.0, 17));
        let (reviews, certificate) = (Family::default(), Gauge::default());
        // A counter that is not there cannot be seen to rise.
        for (_, result) in OUTCOMES {
            drop(Family::<ResultLabel, Counter>::get_or_create(&reviews, &ResultLabel { result }));
        }
        let mut registry = Registry::default();
        registry.register("osc_webhook_reviews", "Reviews of pods, by result", reviews.clone());
        registry.register(
            "osc_webhook_review_duration_seconds",
            "From the head of a review to its answer",
            duration.clone(),
        );
        registry.register(
            "osc_webhook_certificate_not_after_seconds",
            "When the serving certificate ends, in seconds since 1970; 0 without one",
            certificate.clone(),
        );
        Self { registry: Arc::new(registry), reviews, duration, certificate }
    }
}

impl Metrics {
    /// An exchange has ended.
    pub fn reviewed(&self, outcome: Outcome, took: Duration) {
        for (_, result) in OUTCOMES.into_iter().filter(|(known, _)| *known == outcome) {
            self.reviews.get_or_create(&ResultLabel { result }).inc();
        }
        self.duration.observe(took.as_secs_f64());
    }

    /// The text that Prometheus scrapes, with the end of the certificate in use.
    pub fn text(&self, not_after: Option<Timestamp>) -> Result<String, std::fmt::Error> {
        self.certificate.set(not_after.map_or(0, Timestamp::as_second));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_metrics_are_there_from_the_beginning_and_described() {
        let metrics = Metrics::default();
        metrics.reviewed(Outcome::Changed, Duration::from_millis(1));
        let text = metrics.text(Some(Timestamp::from_second(1_800_000_000).unwrap())).unwrap();
        for line in [
            "osc_webhook_reviews_total{result=\"changed\"} 1",
            "osc_webhook_reviews_total{result=\"no_review\"} 0",
            "osc_webhook_review_duration_seconds_count 1",
            "osc_webhook_certificate_not_after_seconds 1800000000",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
        }
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let page = std::fs::read_to_string(page).unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for name in types.map(|line| line.split(' ').next().unwrap()) {
            assert!(page.contains(&format!("`{name}")), "docs/metrics.md does not describe {name}");
        }
        for (_, result) in OUTCOMES {
            assert!(page.contains(&format!("`{result}`")), "docs/metrics.md does not describe {result}");
        }
    }
}
