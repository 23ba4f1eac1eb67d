//! Both sides of a challenge against each other, and against everything that must be refused.

use super::*;
use crate::challenge::Draws;

const DRAWS: Draws =
    Draws { inner_key: [1; 16], credential_seed: [2; 32], wrap_seed: [3; 32], object_seed: [4; 32] };

const KEY: [u8; 32] = [9; 32];

fn challenge(tpm: &Tpm, device: &Device) -> Vec<u8> {
    challenge::make(&tpm.endorsement_key(device), &tpm.storage_root_key(device), &KEY, &DRAWS).unwrap()
}

fn token(tpm: &Tpm, device: &Device) -> Option<String> {
    let mut token = String::new();
    tpm.authorize(device, 0, "0ne/registrations/d", 1_900_000_000, &mut token).unwrap().then_some(token)
}

#[test]
fn the_answer_to_a_challenge_is_the_key_it_carries() {
    let tpm = Tpm::new(Config {}).unwrap();
    let device = tpm.device("d", [0, 0, 0, 0]).unwrap();
    assert_eq!(token(&tpm, &device), None, "no token before a challenge");
    tpm.answer(&device, &challenge(&tpm, &device)).unwrap();
    let text = b"0ne%2Fregistrations%2Fd\n1900000000";
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &KEY), text);
    let signature =
        BASE64_STANDARD.encode(signature).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let expected = format!(
        "SharedAccessSignature sr=0ne%2Fregistrations%2Fd&sig={signature}&se=1900000000&skn=registration"
    );
    assert_eq!(token(&tpm, &device), Some(expected));
}

#[test]
fn keys_have_the_size_that_devices_send() {
    let tpm = Tpm::new(Config {}).unwrap();
    let device = tpm.device("d", [5, 6, 0, 0]).unwrap();
    // 316 bytes were seen on the wire (`dps-protocol` 10.1).
    assert_eq!(tpm.endorsement_key(&device).len(), 316);
    assert!(tpm.enrol(&device).unwrap().starts_with(r#""tpm":{"endorsementKey":"#));
}

#[test]
fn a_challenge_for_another_device_is_refused() {
    let tpm = Tpm::new(Config {}).unwrap();
    let devices: Vec<Device> =
        [[0, 0], [0, 1], [1, 0]].map(|[a, b]| tpm.device("d", [a, b, 0, 0]).unwrap()).into();
    let meant = challenge(&tpm, &devices[0]);
    for other in &devices[1..] {
        assert!(tpm.answer(other, &meant).is_err());
        assert_eq!(token(&tpm, other), None);
    }
}

#[test]
fn a_challenge_with_any_byte_changed_is_refused() {
    let tpm = Tpm::new(Config {}).unwrap();
    let device = tpm.device("d", [0, 0, 0, 0]).unwrap();
    let whole = challenge(&tpm, &device);
    // The last two bytes are the size of the data that nobody reads.
    for at in (0..whole.len() - 2).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(tpm.answer(&device, &changed).is_err(), "byte {at}");
    }
    for length in [0, 1, 2, 80, whole.len() / 2, whole.len() - 3] {
        assert!(tpm.answer(&device, &whole[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn keys_of_another_template_get_no_challenge() {
    let tpm = Tpm::new(Config {}).unwrap();
    let device = tpm.device("d", [0, 0, 0, 0]).unwrap();
    let (ek, srk) = (tpm.endorsement_key(&device), tpm.storage_root_key(&device));
    for at in [0, 2, 4, 45, 48, 50] {
        let mut changed = ek.clone();
        changed[at] ^= 0x40;
        assert!(challenge::make(&changed, &srk, &KEY, &DRAWS).is_err(), "byte {at}");
    }
    assert!(challenge::make(&[], &srk, &KEY, &DRAWS).is_err());
}
