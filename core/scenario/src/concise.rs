//! A scenario, or a mock's file, without what goes without saying.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{
    AccessPolicyFile, CertificateAuthorityFile, CertificateFile, CertificatePolicyFile, Cohort,
    EnrollmentFile, EnrollmentGroupFile, HubFile, MockFile, Problem, Problems, Scenario, read_mock,
};

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

impl MockFile {
    /// The file as a person would write it: without the values that it would have anyhow. It reads back as itself.
    ///
    /// # Errors
    /// What is wrong with it: everything that reading it would say.
    pub fn concise(&self) -> Result<String, Problems> {
        const NAME: &str = "the mock's file";
        let unwritable = |error: toml::ser::Error| {
            let message = format!("it cannot be written: {error}");
            Problems::new(NAME, "", &[], vec![Problem { message, span: None, help: String::new() }])
        };
        let mut table = Table::try_from(self).map_err(unwritable)?;
        spare(&mut table, &Table::try_from(Self::default()).map_err(unwritable)?);
        spare_each::<HubFile>(&mut table, "hub", "host = ''");
        spare_each::<EnrollmentFile>(&mut table, "enrollment", "registration_id = ''");
        spare_each::<EnrollmentGroupFile>(&mut table, "enrollment_group", "id = ''");
        spare_each::<CertificateFile>(&mut table, "certificate", "name = ''\nfile = ''");
        spare_each::<AccessPolicyFile>(&mut table, "access_policy", "name = ''\nprimary_key = { env = 'X' }");
        spare_each::<CertificateAuthorityFile>(
            &mut table,
            "certificate_authority",
            "namespace = ''\nname = ''",
        );
        for authority in tables(&mut table, "certificate_authority") {
            spare_each::<CertificatePolicyFile>(authority, "policy", "name = ''\nvalidity_days = 0");
        }
        let text = table.to_string();
        read_mock(Path::new(""), &text, NAME, &[])?;
        Ok(text)
    }
}

/// The tables of a list.
fn tables<'a>(table: &'a mut Table, key: &str) -> impl Iterator<Item = &'a mut Table> {
    let list = table.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_table_mut)
}

/// Takes out of each table of a list what is usual: what one has of which only `least` is said.
fn spare_each<T: DeserializeOwned + Serialize>(table: &mut Table, key: &str, least: &str) {
    let usual =
        toml::from_str::<T>(least).ok().and_then(|least| Table::try_from(least).ok()).unwrap_or_default();
    for entry in tables(table, key) {
        entry.retain(|key, value| usual.get(key) != Some(value));
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

    #[test]
    fn a_mocks_file_is_as_short_and_reads_back() {
        let text = "id_scope = \"0ne1\"\n\n[[hub]]\nhost = \"h\"\n\n[[enrollment_group]]\nid = \"g\"\n\n\
                    [enrollment_group.primary_key]\nenv = \"K\"\n\n[[certificate_authority]]\nname = \"ca-1\"\n\
                    namespace = \"ns-1\"\n\n[[certificate_authority.policy]]\nname = \"p30\"\nvalidity_days = 30\n";
        let read = |text: &str| read_mock(Path::new(""), text, "mock.toml", &[]).unwrap();
        let mock = read(text);
        let concise = mock.concise().unwrap();
        assert_eq!(read(&concise), mock);
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(lines(&concise), lines(text), "{concise}");
        let mut wrong = mock;
        wrong.hubs[0].weight = 0;
        assert!(wrong.concise().unwrap_err().to_string().contains("a weight of 0"));
    }
}
