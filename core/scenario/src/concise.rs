//! A scenario without what goes without saying.

use toml::{Table, Value};

use super::{Cohort, Scenario};

impl Scenario {
    /// The scenario as a person would write it: without the values that it would have anyhow. It reads back as itself,
    /// name included.
    pub fn concise(&self) -> String {
        let (Ok(mut table), Ok(usual)) = (Table::try_from(self), Table::try_from(Self::default())) else {
            return self.resolved();
        };
        spare(&mut table, &usual);
        if let (Some(Value::Array(cohorts)), Ok(usual)) =
            (table.get_mut("cohort"), Table::try_from(Cohort::default()))
        {
            cohorts.iter_mut().filter_map(Value::as_table_mut).for_each(|cohort| spare(cohort, &usual));
        }
        let text = table.to_string();
        // A default that depends on what else is said is not told by leaving it out.
        let same = Self::read(&text, "concise", &[]).is_ok_and(|read| read == *self);
        if same { text } else { self.resolved() }
    }
}

/// Takes out of a table what is usual; tables that have a `kind` are one value.
fn spare(table: &mut Table, usual: &Table) {
    table.retain(|key, value| {
        let Some(usual) = usual.get(key) else { return true };
        if let (Value::Table(inner), Value::Table(usual)) = (&mut *value, usual)
            && !inner.contains_key("kind")
        {
            spare(inner, usual);
            return !inner.is_empty();
        }
        value != usual
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_left_out_and_the_rest_reads_back() {
        let text = "name = \"storm\"\nhorizon = \"20m\"\n[fleet]\ndevices = 7\n\
                    arrival = { kind = \"all-at-once\", spread = \"5s\" }\n[[cohort]]\nretry = \"none\"\n\
                    [mock.throttle]\nburst = 12\n[[chaos]]\nfault = { kind = \"net.refused\" }\nduration = \"3s\"\n";
        let scenario = Scenario::read(text, "storm.toml", &[]).unwrap();
        let concise = scenario.concise();
        assert_eq!(Scenario::read(&concise, "again.toml", &[]).unwrap(), scenario);
        assert!(concise.lines().count() < 25, "{concise}");
        assert!(!concise.contains("seed") && concise.contains("devices = 7"), "{concise}");
    }
}
