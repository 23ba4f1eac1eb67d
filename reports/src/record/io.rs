//! Records as bytes, and histograms as text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_units::number::rank;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::*;

/// Why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They are not JSON of the right shape.
    #[error("this is no run.json: {0}")]
    Malformed(#[from] serde_json::Error),
    /// They were written by a later version.
    #[error("this record has version {found} and this fleetstorm reads up to {VERSION}: use a newer one")]
    TooNew {
        /// The version that was found.
        found: u64,
    },
}

impl Record {
    /// Reads `run.json`.
    ///
    /// # Errors
    /// It is no record, or one of a later version.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let Versioned { version } = serde_json::from_slice(bytes)?;
        if version > u64::from(VERSION) {
            return Err(ReadError::TooNew { found: version });
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Writes `run.json`: the same record always gives the same bytes.
    ///
    /// # Errors
    /// A number is not finite, which no run records.
    pub fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let text = serde_json::to_string_pretty(self)?;
        let mut text = crate::text::json_escaped(&text).into_owned();
        text.push('\n');
        Ok(text.into_bytes())
    }

    /// The JSON Schema of `run.json`.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// A record of a run in which nothing happened.
    pub fn empty() -> Self {
        Self {
            version: VERSION,
            tool: String::new(),
            name: String::new(),
            question: String::new(),
            seed: 0,
            clock: Clock::Wall,
            target: Target {
                kind: "mock".into(),
                address: String::new(),
                id_scope: String::new(),
                throttle: None,
            },
            scenario: String::new(),
            profile: None,
            plugins: Vec::new(),
            end: End::Settled,
            duration_ns: 0,
            devices: 0,
            cohorts: Vec::new(),
            totals: Totals::default(),
            completion: Completion::default(),
            phases: Vec::new(),
            codes: Vec::new(),
            flow: Vec::new(),
            series: Series::default(),
            attempts: BTreeMap::new(),
            retry_after: RetryAfterUse::default(),
            held_back: HeldBack::default(),
            life: None,
            window_ns: 0,
            heat: Vec::new(),
            journeys: Vec::new(),
            herd: HerdIndex::default(),
            practice: Practice::default(),
            bound: None,
            objectives: Vec::new(),
            audit: None,
            machine: None,
            metrics: Vec::new(),
            alerts: Vec::new(),
            service_log: None,
            trace: None,
            chaos: Chaos::default(),
            outages: Vec::new(),
            discrepancies: Vec::new(),
            verdict: Verdict { result: VerdictResult::Passed, sentence: String::new(), exit_code: 0 },
            path: String::new(),
        }
    }
}

/// A percentile of the samples of a histogram, which has one at least.
pub fn percentile_us(histogram: &Histogram<u64>, percentile: f64) -> u64 {
    let count = histogram.len();
    // The middle of the rank: the quantile itself may be a last digit too large for it.
    histogram.value_at_quantile((rank(percentile, count) as f64 - 0.5) / count as f64)
}

impl Distribution {
    /// Summarizes and encodes a histogram of microseconds.
    pub fn from_histogram(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail; a histogram without its encoding still has its percentiles.
        let encoded = V2DeflateSerializer::new().serialize(histogram, &mut bytes).is_ok();
        let at = |percentile| percentile_us(histogram, percentile);
        Self {
            count: histogram.len(),
            min_us: histogram.min(),
            mean_us: histogram.mean(),
            p50_us: at(50.0),
            p90_us: at(90.0),
            p95_us: at(95.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: histogram.max(),
            histogram: if encoded { BASE64_STANDARD.encode(bytes) } else { String::new() },
        }
    }

    /// The whole histogram; `None` if there are no samples or the text is damaged.
    pub fn decode(&self) -> Option<Histogram<u64>> {
        let bytes = BASE64_STANDARD.decode(&self.histogram).ok().filter(|bytes| !bytes.is_empty())?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_what_it_writes_and_fits_its_schema() {
        let mut record = Record::empty();
        record.attempts.insert(3, 5);
        record.end = End::Ceiling { ceiling: "max_rate".into() };
        let bytes = record.write().unwrap();
        assert_eq!(Record::read(&bytes).unwrap(), record);
        let schema = Record::json_schema();
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&serde_json::from_slice(&bytes).unwrap()));
        assert!(!validator.is_valid(&serde_json::json!({ "version": 1 })));
    }

    #[test]
    fn a_record_that_is_read_and_written_again_is_the_same_bytes() {
        let mut record = crate::testing::record();
        // Numbers whose shortest spelling a hurried reader takes for their neighbour.
        for odd in [
            0.1 + 0.2,
            1.0 / 3.0,
            2_f64.powi(-1_074),
            9_007_199_254_740_993.0,
            0.999_999_999_999_999_9,
            5e-324,
        ] {
            record.herd.synchrony = Some(odd);
            record.objectives[0].value = Some(odd * 3.3);
            record.objectives[0].bound = odd;
            let once = record.write().unwrap();
            assert_eq!(Record::read(&once).unwrap().write().unwrap(), once, "{odd}");
        }
        let mut draw = 1u64;
        for _ in 0..20_000 {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = (draw >> 11) as f64 / 97.0;
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), value.to_bits(), "{text}");
        }
    }

    /// The published schema is what the code says. `UPDATE_SCHEMA=1` writes it anew.
    #[test]
    fn the_published_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/run.schema.json");
        let current = format!("{:#}\n", Record::json_schema());
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap() == current, "run the test with UPDATE_SCHEMA=1");
    }

    #[test]
    fn later_versions_and_garbage_are_refused_with_the_reason() {
        let error = Record::read(br#"{"version": 99}"#).unwrap_err().to_string();
        assert!(error.contains("99") && error.contains("newer"), "{error}");
        assert!(Record::read(b"<html>").unwrap_err().to_string().contains("no run.json"));
    }

    #[test]
    fn a_histogram_survives_as_text() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 86_400_000_000, 3).unwrap();
        for value in 1..=10_000 {
            histogram.record(value * 17).unwrap();
        }
        let distribution = Distribution::from_histogram(&histogram);
        assert_eq!(distribution.decode().unwrap(), histogram);
        assert!((distribution.p50_us as f64 / 85_000.0 - 1.0).abs() < 0.001);
        assert!(distribution.histogram.len() < 10_000);
        let damaged = Distribution { histogram: "AAAA".into(), ..distribution };
        assert!(damaged.decode().is_none());
    }
}
