use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};

use super::*;

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

struct Made {
    params: CertificateParams,
    key: KeyPair,
    der: CertificateDer<'static>,
}

fn made(name: &str, issuer: Option<&Made>, change: impl FnOnce(&mut CertificateParams)) -> Made {
    with_key(name, KeyPair::generate().unwrap(), issuer, change)
}

fn with_key(
    name: &str,
    key: KeyPair,
    issuer: Option<&Made>,
    change: impl FnOnce(&mut CertificateParams),
) -> Made {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    change(&mut params);
    let der = match issuer {
        Some(made) => {
            params.signed_by(&key, &Issuer::from_params(&made.params, &made.key)).unwrap().der().clone()
        }
        None => params.self_signed(&key).unwrap().der().clone(),
    };
    Made { params, key, der }
}

fn ca(name: &str, issuer: Option<&Made>) -> Made {
    made(name, issuer, authority)
}

fn authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
}

fn leaf(name: &str, issuer: &Made) -> Made {
    made(name, Some(issuer), |_| ())
}

/// How deep the first certificate lies beneath `ca`, if `trusted` are what the service trusts.
fn depth(chain: &[&Made], ca: &Made, trusted: &[&Made]) -> Option<u8> {
    at(NOW, chain, ca, trusted)
}

fn at(now: u64, chain: &[&Made], ca: &Made, trusted: &[&Made]) -> Option<u8> {
    let presented: Vec<_> = chain.iter().map(|made| made.der.clone()).collect();
    let certificates = trusted.iter().map(|made| (&*made.der).into()).collect();
    Ways::of(&presented, &TrustedCas { version: 1, certificates }, now).depth(&ca.der)
}

#[test]
fn the_way_goes_by_what_is_presented_to_what_is_trusted() {
    let root = ca("root", None);
    let intermediate = ca("intermediate", Some(&root));
    let dev = leaf("dev-1", &intermediate);
    let direct = leaf("dev-2", &root);
    assert_eq!(depth(&[&direct], &root, &[&root]), Some(0));
    assert_eq!(depth(&[&direct, &root], &root, &[&root]), Some(0), "the root may come along");
    let whole = [&dev, &intermediate];
    assert_eq!(depth(&whole, &root, &[&root]), Some(1));
    assert_eq!(depth(&whole, &intermediate, &[&root]), Some(0), "an intermediate is held to its root");
    assert_eq!(depth(&whole, &intermediate, &[&intermediate]), Some(0));
    assert_eq!(depth(&whole, &root, &[&intermediate]), None, "the root is not trusted");
    assert_eq!(depth(&whole, &root, &[&intermediate, &root]), Some(1), "the nearest is not the only one");
    assert_eq!(depth(&[&dev], &intermediate, &[&intermediate]), Some(0));
    assert_eq!(depth(&[&dev], &intermediate, &[&root]), None, "the leaf without its chain");
    assert_eq!(depth(&[&dev], &root, &[&root]), None, "a gap");
    let other = leaf("dev-3", &intermediate);
    assert_eq!(depth(&[&dev, &other, &root, &intermediate], &root, &[&root]), Some(1), "in any order");
    assert_eq!(depth(&[], &root, &[&root]), None);
}

#[test]
fn an_authority_is_no_device() {
    let root = ca("root", None);
    let intermediate = ca("intermediate", Some(&root));
    assert_eq!(depth(&[&root], &root, &[&root]), None, "a group's own CA");
    assert_eq!(depth(&[&root, &root], &root, &[&root]), None);
    assert_eq!(depth(&[&intermediate], &root, &[&root]), None);
    let old = made("old", None, |_| ());
    assert_eq!(depth(&[&old], &old, &[&old]), None, "trusted, although it says nowhere that it is a CA");
}

#[test]
fn signatures_hold_all_the_way() {
    let root = ca("root", None);
    let stranger = ca("root", None);
    assert_eq!(depth(&[&leaf("dev-1", &stranger)], &root, &[&root]), None, "the same name with another key");
    let intermediate = ca("intermediate", Some(&root));
    let false_one = ca("intermediate", Some(&stranger));
    let dev = leaf("dev-2", &intermediate);
    assert_eq!(depth(&[&dev, &false_one], &root, &[&root]), None);
    assert_eq!(depth(&[&dev, &false_one, &intermediate], &root, &[&root]), Some(1), "a decoy is passed by");
    let mut spoilt = leaf("dev-3", &root);
    let mut der = spoilt.der.to_vec();
    *der.last_mut().unwrap() ^= 1;
    spoilt.der = der.into();
    assert_eq!(depth(&[&spoilt], &root, &[&root]), None);
}

#[test]
fn dates_hold_all_the_way_and_at_the_trusted_end() {
    let of = |from: i32, to: i32| {
        move |params: &mut CertificateParams| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        }
    };
    for (from, to, holds) in [(2025, 2027, true), (2020, 2025, false), (2027, 2030, false)] {
        let expected = holds.then_some(1);
        let dated = |params: &mut CertificateParams| {
            authority(params);
            of(from, to)(params);
        };
        let (root, good) = (made("root", None, dated), ca("root", None));
        let intermediate = ca("intermediate", Some(&root));
        assert_eq!(depth(&[&leaf("a", &intermediate), &intermediate], &root, &[&root]), expected);
        let intermediate = made("intermediate", Some(&good), dated);
        assert_eq!(depth(&[&leaf("b", &intermediate), &intermediate], &good, &[&good]), expected);
        let intermediate = ca("intermediate", Some(&good));
        let dev = made("c", Some(&intermediate), of(from, to));
        assert_eq!(depth(&[&dev, &intermediate], &good, &[&good]), expected);
    }
}

#[test]
fn a_verdict_stands_until_the_next_date_or_another_list() {
    let root = ca("root", None);
    let dev = leaf("dev-1", &root);
    let list = |version| TrustedCas { version, certificates: vec![(&*root.der).into()] };
    let end = 1_798_761_600;
    let ways = Ways::of(std::slice::from_ref(&dev.der), &list(1), NOW);
    assert_eq!(ways.depth(&root.der), Some(0));
    assert!(
        ways.stand(&list(1), end) && !ways.stand(&list(1), end + 1),
        "the second in which it ends counts"
    );
    assert!(!ways.stand(&list(1), 1_735_689_599) && !ways.stand(&list(2), NOW));
    assert_eq!(at(end, &[&dev], &root, &[&root]), Some(0));
    assert_eq!(at(end + 1, &[&dev], &root, &[&root]), None);
}

#[test]
fn only_authorities_issue() {
    let root = ca("root", None);
    for (name, change) in [
        ("a leaf that issues", (|_| ()) as fn(&mut CertificateParams)),
        ("explicitly none", |params| params.is_ca = IsCa::ExplicitNoCa),
        ("without keyCertSign", |params| {
            authority(params);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        }),
    ] {
        let intermediate = made("intermediate", Some(&root), change);
        assert_eq!(depth(&[&leaf("dev-1", &intermediate), &intermediate], &root, &[&root]), None, "{name}");
        let trusted = made("trusted", None, change);
        assert_eq!(depth(&[&leaf("dev-2", &trusted)], &trusted, &[&trusted]), None, "{name}, trusted");
    }
    // Without the extension a key may be used for everything.
    let plain = made("plain", None, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(depth(&[&leaf("dev-3", &plain)], &plain, &[&plain]), Some(0));
}

#[test]
fn path_lengths_hold_at_intermediates_and_at_the_trusted_end() {
    let limited = |longest| {
        move |params: &mut CertificateParams| {
            authority(params);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(longest));
        }
    };
    for (longest, holds) in [(0, false), (1, true), (2, true)] {
        let root = made("root", None, limited(longest));
        let intermediate = ca("intermediate", Some(&root));
        let chain = [&leaf("dev-1", &intermediate), &intermediate];
        assert_eq!(depth(&chain, &root, &[&root]), holds.then_some(1), "trusted, {longest}");
        assert_eq!(depth(&[&leaf("dev-2", &root)], &root, &[&root]), Some(0), "{longest}");
        let root = ca("root", None);
        let upper = made("upper", Some(&root), limited(longest));
        let lower = ca("lower", Some(&upper));
        let chain = [&leaf("dev-3", &lower), &lower, &upper];
        assert_eq!(depth(&chain, &root, &[&root]), holds.then_some(2), "intermediate, {longest}");
    }
}

#[test]
fn names_are_constrained_at_intermediates_and_at_the_trusted_end() {
    let constrained = |permitted: bool| {
        move |params: &mut CertificateParams| {
            authority(params);
            let tree = vec![GeneralSubtree::DnsName("line.example".into())];
            let (permitted_subtrees, excluded_subtrees) =
                if permitted { (tree, Vec::new()) } else { (Vec::new(), tree) };
            params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
        }
    };
    let named = |name: Option<&str>, issuer: &Made| {
        let name = name.map(|name| SanType::DnsName(name.try_into().unwrap()));
        made("dev-1", Some(issuer), |params| params.subject_alt_names = name.into_iter().collect())
    };
    for (permitted, name, holds) in [
        (true, Some("dev.line.example"), true),
        (true, Some("dev.other.example"), false),
        (true, None, true),
        (false, Some("dev.line.example"), false),
        (false, Some("dev.other.example"), true),
        (false, None, true),
    ] {
        let root = made("root", None, constrained(permitted));
        let expected = |depth| holds.then_some(depth);
        assert_eq!(depth(&[&named(name, &root)], &root, &[&root]), expected(0), "{permitted} {name:?}");
        let root = ca("root", None);
        let intermediate = made("intermediate", Some(&root), constrained(permitted));
        let chain = [&named(name, &intermediate), &intermediate];
        assert_eq!(depth(&chain, &root, &[&root]), expected(1), "{permitted} {name:?}");
    }
}

#[test]
fn a_certificate_for_something_else_is_none_for_clients() {
    use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
    for (uses, holds) in [
        (vec![], true),
        (vec![ClientAuth], true),
        (vec![ServerAuth, ClientAuth], true),
        (vec![ServerAuth], false),
        (vec![CodeSigning], false),
    ] {
        let root = ca("root", None);
        let dev = made("dev-1", Some(&root), |params| params.extended_key_usages = uses.clone());
        assert_eq!(depth(&[&dev], &root, &[&root]), holds.then_some(0), "{uses:?}");
        let intermediate = made("intermediate", Some(&root), |params| {
            authority(params);
            params.extended_key_usages = uses.clone();
        });
        let chain = [&leaf("dev-2", &intermediate), &intermediate];
        assert_eq!(depth(&chain, &root, &[&root]), holds.then_some(1), "intermediate {uses:?}");
    }
}

#[test]
fn a_critical_extension_that_nobody_knows_is_refused() {
    for (critical, holds) in [(false, true), (true, false)] {
        let extension = || {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
            extension.set_criticality(critical);
            extension
        };
        let root = ca("root", None);
        let dev = made("dev-1", Some(&root), |params| params.custom_extensions.push(extension()));
        assert_eq!(depth(&[&dev], &root, &[&root]), holds.then_some(0));
        let intermediate = made("intermediate", Some(&root), |params| {
            authority(params);
            params.custom_extensions.push(extension());
        });
        let chain = [&leaf("dev-2", &intermediate), &intermediate];
        assert_eq!(depth(&chain, &root, &[&root]), holds.then_some(1));
    }
}

#[test]
fn long_chains_loops_and_mazes_end() {
    let root = ca("root", None);
    let mut chain = vec![ca("ca-0", Some(&root))];
    for number in 1..8 {
        chain.push(ca(&format!("ca-{number}"), chain.last()));
    }
    for (length, holds) in [(2, true), (6, true), (8, false)] {
        let dev = leaf("dev-1", &chain[length - 1]);
        let mut presented = vec![&dev];
        presented.extend(chain[..length].iter().rev());
        assert_eq!(depth(&presented, &root, &[&root]).is_some(), holds, "{length} intermediates");
    }
    // Two that vouch for each other, and one that vouches for itself.
    let (one, other) = (ca("one", None), ca("other", None));
    let key = || KeyPair::from_pem(&one.key.serialize_pem()).unwrap();
    let by_other = with_key("one", key(), Some(&other), authority);
    let by_one = made("other", Some(&one), authority);
    let dev = leaf("dev-2", &one);
    assert_eq!(depth(&[&dev, &by_other, &by_one, &one, &other], &root, &[&root]), None);
    // Seven of one name and one key: every order of them is a way that has to be tried.
    let shared = || KeyPair::from_pem(&one.key.serialize_pem()).unwrap();
    let maze: Vec<Made> = (0..7).map(|_| with_key("one", shared(), Some(&one), authority)).collect();
    let mut presented = vec![&dev];
    presented.extend(&maze);
    assert_eq!(depth(&presented, &root, &[&root]), None);
    let presented: Vec<_> = presented.iter().map(|made| made.der.clone()).collect();
    let certificates = vec![(&*root.der).into()];
    let trusted = TrustedCas { version: 1, certificates };
    let parsed =
        presented.iter().map(|der| X509Certificate::from_der(der).map(|(_, read)| read).ok()).collect();
    let mut walk = Walk {
        presented: &presented,
        parsed,
        anchors: Vec::new(),
        time: ASN1Time::from_timestamp(NOW as i64).unwrap(),
        now: NOW as i64,
        signatures: 0,
        path: vec![0],
        ways: Ways::of(&[], &trusted, NOW),
    };
    walk.up(0);
    assert_eq!(walk.signatures, SIGNATURES_MAX);
    // A thousand certificates are not even looked at.
    let many: Vec<_> = std::iter::repeat_n(dev.der.clone(), 1_000).collect();
    assert!(Ways::of(&many, &trusted, NOW).above.is_empty());
}

/// Certificates that OpenSSL made, judged here and by OpenSSL.
#[test]
fn openssl_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &str| {
        std::process::Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(directory.path())
            .output()
            .expect("this test needs openssl")
    };
    let must = |arguments: &str| {
        let done = run(arguments);
        assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let issue = |name: &str, issuer: Option<&str>, extensions: &str| {
        std::fs::write(directory.path().join("ext"), extensions).unwrap();
        must(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        let by = match issuer {
            Some(issuer) => format!("-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial"),
            None => format!("-signkey {name}.key"),
        };
        let extensions = if extensions.is_empty() { "" } else { "-extfile ext" };
        must(&format!("x509 -req -in {name}.csr {by} -days 30 -out {name}.pem {extensions}"));
    };
    let read = |name: &str| {
        use rustls::pki_types::pem::PemObject as _;
        CertificateDer::from_pem_file(directory.path().join(format!("{name}.pem"))).unwrap()
    };
    const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
    let now = std::process::Command::new("date").arg("+%s").output().unwrap();
    // The certificates are made from now on.
    let now = String::from_utf8(now.stdout).unwrap().trim().parse::<u64>().unwrap() + 3_600;
    let pathlen = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n";
    let no_sign = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\n";
    let named = format!("{CA}nameConstraints=critical,permitted;DNS:line.example\n");
    let excluded = format!("{CA}nameConstraints=critical,excluded;dirName:dn\n[dn]\nCN=dev\n");
    let serves = format!("{CA}extendedKeyUsage=serverAuth\n");
    for (case, root, intermediate, device, holds) in [
        ("usual", CA, CA, "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n", true),
        ("version 1", CA, CA, "", true),
        ("path length of the root", pathlen, CA, "", false),
        ("path length of the intermediate", CA, pathlen, "", true),
        ("keyCertSign of the root", no_sign, CA, "", false),
        ("keyCertSign of the intermediate", CA, no_sign, "", false),
        ("no CA", CA, "basicConstraints=CA:FALSE\n", "", false),
        ("a permitted name", CA, &named, "subjectAltName=DNS:dev.line.example\n", true),
        ("a name that is not", CA, &named, "subjectAltName=DNS:dev.example\n", false),
        ("an excluded subject", CA, &excluded, "basicConstraints=CA:FALSE\n", false),
        ("an excluded subject of version 1", CA, &excluded, "", false),
        ("server only", CA, CA, "extendedKeyUsage=serverAuth\n", false),
        ("beneath servers only", CA, &serves, "", false),
    ] {
        issue("root", None, root);
        issue("intermediate", Some("root"), intermediate);
        issue("dev", Some("intermediate"), device);
        let verdict = run("verify -purpose sslclient -CAfile root.pem -untrusted intermediate.pem dev.pem");
        assert_eq!(verdict.status.success(), holds, "openssl on {case}: {verdict:?}");
        let trusted = TrustedCas { version: 1, certificates: vec![(&*read("root")).into()] };
        let ways = Ways::of(&[read("dev"), read("intermediate")], &trusted, now);
        assert_eq!(ways.depth(&read("root")), holds.then_some(1), "{case}");
    }
}
