//! The life of authorities and certificates, played through.

use super::*;
use rstest::rstest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{RootCertStore, server::ParsedCertificate};
use std::sync::Arc;
use std::time::Duration;

const LIFETIMES: Lifetimes = Lifetimes {
    authority: SignedDuration::from_hours(90),
    serving: SignedDuration::from_hours(9),
    settle: SignedDuration::from_hours(1),
};

fn names() -> Vec<String> {
    vec!["webhook-service.home.svc".to_owned(), "127.0.0.1".to_owned()]
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn hours(hours: i64) -> Timestamp {
    start() + SignedDuration::from_hours(hours)
}

/// Takes steps until there is nothing to do at that time, each going through what is stored. Says what was done.
fn settle(bundle: &mut Bundle, told: bool, now: Timestamp) -> Vec<Next> {
    let mut done = Vec::new();
    loop {
        let next = bundle.next(&names(), told, now, &LIFETIMES);
        if matches!(next, Next::Wait(_)) {
            return done;
        }
        assert!(done.len() < 5, "there is no end to it: {done:?}");
        bundle.take(next, &names(), now, &LIFETIMES).unwrap();
        *bundle = Bundle::read(&bundle.stored()).unwrap();
        done.push(next);
    }
}

/// Whether a client that trusts these authorities accepts that serving certificate at that time.
fn accepts(trusted: &str, leaf: &str, now: Timestamp) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    ParsedCertificate::try_from(&leaf).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().try_into().unwrap()));
    for name in names() {
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(&leaf, &[], &name, &[], now).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[test]
fn the_first_certificate_is_there_at_once() {
    let mut bundle = Bundle::default();
    assert_eq!(settle(&mut bundle, false, start()), [Next::Authority, Next::Leaf(0)]);
    let stored = bundle.stored();
    assert_eq!(accepts(&stored.authorities, &stored.certificate, start()), Ok(()));
    let serving = bundle.serving().unwrap().unwrap();
    assert_eq!(serving.not_after, hours(9));
    assert_eq!(bundle.next(&names(), true, start(), &LIFETIMES), Next::Wait(hours(6)));
}

/// A year and more of hourly looks. A client takes notice of the authorities half an hour late, and accepts what it is
/// shown at every moment.
#[test]
fn at_every_moment_every_client_trusts_what_it_is_shown() {
    let mut bundle = Bundle::default();
    settle(&mut bundle, true, start());
    let mut trusted = bundle.stored().authorities;
    let (mut authorities, mut leaves, mut most) = (1, 1, 1);
    for half_hours in 1..900 {
        let now = start() + SignedDuration::from_mins(30 * half_hours);
        let done = settle(&mut bundle, true, now);
        authorities += done.iter().filter(|next| **next == Next::Authority).count();
        leaves += done.iter().filter(|next| matches!(next, Next::Leaf(_))).count();
        let stored = bundle.stored();
        assert_eq!(accepts(&trusted, &stored.certificate, now), Ok(()), "a client that is late, at {now}");
        assert_eq!(accepts(&stored.authorities, &stored.certificate, now), Ok(()), "at {now}");
        most = most.max(bundle.authorities.len());
        trusted = stored.authorities;
    }
    assert_eq!((authorities, leaves, most), (8, 75, 2));
}

#[test]
fn a_new_authority_signs_nothing_before_clients_were_told() {
    let mut bundle = Bundle::default();
    settle(&mut bundle, true, start());
    assert_eq!(settle(&mut bundle, false, hours(60)), [Next::Authority, Next::Leaf(0)]);
    for told in [false, true] {
        let signs = usize::from(told);
        assert_eq!(settle(&mut bundle.clone(), told, hours(67)), [Next::Leaf(signs)], "told: {told}");
    }
}

#[test]
fn an_operator_that_was_away_for_long_starts_anew() {
    let mut bundle = Bundle::default();
    settle(&mut bundle, true, start());
    assert_eq!(settle(&mut bundle, true, hours(1000)), [Next::Authority, Next::Leaf(0)]);
    assert_eq!(bundle.authorities.len(), 1);
}

#[test]
fn other_names_need_another_certificate() {
    let mut bundle = Bundle::default();
    settle(&mut bundle, true, start());
    let other = ["elsewhere.home.svc".to_owned()];
    assert_eq!(bundle.next(&other, true, hours(1), &LIFETIMES), Next::Leaf(0));
}

type Damage = fn(&mut Stored);

#[rstest]
#[case::no_keys(|stored: &mut Stored| stored.authority_keys.clear(), "ca.crt and ca.key cannot be read: 1 certificates, but 0 keys")]
#[case::no_serving_key(|stored: &mut Stored| stored.key.clear(), "tls.key cannot be read: ")]
#[case::the_authoritys_key(|stored: &mut Stored| stored.key = stored.authority_keys.clone(), "certificate and key do not fit together: ")]
#[case::the_serving_key(
    |stored: &mut Stored| stored.authority_keys = stored.key.clone(),
    "certificate and key do not fit together: a key in ca.key is not that of its certificate in ca.crt"
)]
#[case::garbage(
    |stored: &mut Stored| stored.certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
    "tls.crt cannot be read: "
)]
fn what_somebody_damaged_is_told(#[case] damage: Damage, #[case] expected: &str) {
    let mut bundle = Bundle::default();
    settle(&mut bundle, true, start());
    let mut stored = bundle.stored();
    damage(&mut stored);
    let error = Bundle::read(&stored).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn nothing_stored_is_nothing_yet() {
    assert_eq!(Bundle::read(&Stored::default()).unwrap(), Bundle::default());
}
