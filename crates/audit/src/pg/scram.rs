//! SCRAM-SHA-256 (RFC 5802, RFC 7677) on the server's side: from a client's first words to whether
//! it has the key. Nothing here knows the key.

use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

use super::Verifier;

/// The mechanism's name.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";
/// The mechanism's name where the proof is bound to the server's certificate (RFC 5929).
pub(super) const BOUND: &str = "SCRAM-SHA-256-PLUS";
/// How it is bound.
const BINDING: &str = "p=tls-server-end-point";
/// Bytes of chance in the server's part of the nonce, before they are written as text.
const NONCE_BYTES: usize = 18;
/// The longest nonce that is taken of a client, in bytes.
const NONCE_BYTES_MAX: usize = 256;

/// A client that has said its first words and was given the salt.
pub(super) struct Challenge {
    verifier: Verifier,
    /// `client-first-message-bare,server-first-message`.
    before: String,
    /// What the client's last message has to repeat of its first one, in Base64.
    binding: String,
    nonce: String,
}

/// Why a client is not who it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Its message is none of SCRAM's.
    Malformed,
    /// It does not have the key.
    Wrong,
}

impl Challenge {
    /// Answers a client's first message with what it has to prove. `end_point` is the hash of the
    /// certificate that both mechanisms were offered under, if they were.
    pub(super) fn begin(
        (mechanism, first): (&str, &[u8]),
        verifier: Verifier,
        end_point: Option<&[u8]>,
    ) -> Result<(Self, String), Failed> {
        let mut chance = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut chance).map_err(|_| Failed::Wrong)?;
        let first = std::str::from_utf8(first).map_err(|_| Failed::Malformed)?;
        Self::with_nonce((mechanism, first), verifier, end_point, &base64(&chance))
    }

    fn with_nonce(
        (mechanism, first): (&str, &str),
        verifier: Verifier,
        end_point: Option<&[u8]>,
        own: &str,
    ) -> Result<(Self, String), Failed> {
        // gs2-header: a binding flag and an identity to act for, each ended by a comma.
        let (flag, rest) = first.split_once(',').ok_or(Failed::Malformed)?;
        let (identity, bare) = rest.split_once(',').ok_or(Failed::Malformed)?;
        // A client that could bind its proof and believes that the server cannot says `y`: if the
        // server offered it, somebody in between took the offer out.
        let bound: &[u8] = match (mechanism, flag, end_point) {
            (BOUND, BINDING, Some(hash)) => hash,
            (MECHANISM, "n", _) | (MECHANISM, "y", None) => &[],
            _ => return Err(Failed::Malformed),
        };
        if !identity.is_empty() {
            return Err(Failed::Malformed);
        }
        let mut parts = bare.split(',');
        let named = parts.next().is_some_and(|name| name.starts_with("n="));
        let theirs = parts.next().and_then(|nonce| nonce.strip_prefix("r="));
        let theirs = theirs.filter(|nonce| !nonce.is_empty() && nonce.len() <= NONCE_BYTES_MAX);
        let (true, Some(theirs)) = (named, theirs) else { return Err(Failed::Malformed) };
        let nonce = format!("{theirs}{own}");
        let asked = format!("r={nonce},s={},i={}", base64(&verifier.salt), verifier.iterations);
        let before = format!("{bare},{asked}");
        let binding = base64(&[format!("{flag},{identity},").as_bytes(), bound].concat());
        Ok((Self { verifier, before, binding, nonce }, asked))
    }

    /// Checks a client's proof and gives the server's own.
    pub(super) fn end(self, last: &[u8]) -> Result<String, Failed> {
        let last = std::str::from_utf8(last).map_err(|_| Failed::Malformed)?;
        let (unproven, proof) = last.rsplit_once(",p=").ok_or(Failed::Malformed)?;
        let mut parts = unproven.split(',');
        let binding = parts.next().and_then(|part| part.strip_prefix("c="));
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        if binding != Some(self.binding.as_str()) || nonce != Some(self.nonce.as_str()) {
            return Err(Failed::Malformed);
        }
        let proof = unbase64(proof).ok_or(Failed::Malformed)?;
        let message = format!("{},{unproven}", self.before);
        let stored = hmac::Key::new(hmac::HMAC_SHA256, &self.verifier.stored_key);
        let signature = hmac::sign(&stored, message.as_bytes());
        if proof.len() != signature.as_ref().len() {
            return Err(Failed::Wrong);
        }
        let key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(p, s)| p ^ s).collect();
        let shown = digest::digest(&digest::SHA256, &key);
        // Every byte is looked at, so that the time does not tell how many of them fit.
        let differs =
            shown.as_ref().iter().zip(&self.verifier.stored_key).fold(0, |d, (a, b)| d | (a ^ b));
        if differs != 0 {
            return Err(Failed::Wrong);
        }
        let server = hmac::Key::new(hmac::HMAC_SHA256, &self.verifier.server_key);
        Ok(format!("v={}", base64(hmac::sign(&server, message.as_bytes()).as_ref())))
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (word >> (18 - 6 * place)) & 63;
            let symbol = char::from(ALPHABET[index as usize]);
            text.push(if place > chunk.len() { '=' } else { symbol });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let stripped = text.trim_end_matches('=');
    if text.len() - stripped.len() > 2 {
        return None;
    }
    let (mut bytes, mut word, mut bits) = (Vec::with_capacity(stripped.len()), 0u32, 0);
    for symbol in stripped.bytes() {
        let index = ALPHABET.iter().position(|known| *known == symbol)?;
        word = word << 6 | u32::try_from(index).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677's example: user `user`, password `pencil`.
    fn example() -> (Challenge, String) {
        let salt = unbase64("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let hexed = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
        let verifier = Verifier {
            salt,
            iterations: 4_096,
            stored_key: hexed("586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6"),
            server_key: hexed("c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5"),
        };
        let first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let own = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        Challenge::with_nonce((MECHANISM, first), verifier, None, own).unwrap()
    }

    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    #[test]
    fn the_standards_own_example_holds() {
        let (challenge, asked) = example();
        let salted = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                      s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(asked, salted);
        let proof = challenge.end(LAST.as_bytes());
        assert_eq!(proof.as_deref(), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn another_proof_nonce_or_binding_is_refused() {
        let wrong = LAST.replace("p=dHzb", "p=eHzb");
        assert_eq!(example().0.end(wrong.as_bytes()), Err(Failed::Wrong));
        assert_eq!(example().0.end(LAST.replace("p=dHzb", "p=").as_bytes()), Err(Failed::Wrong));
        for other in [
            LAST.replace("$k0", "$k1"),
            LAST.replace("c=biws", "c=eSws"),
            LAST.replace(",p=", ",q="),
            LAST.replace("dVQ=", "dVQ"),
            String::new(),
        ] {
            assert_eq!(example().0.end(other.as_bytes()), Err(Failed::Malformed), "{other}");
        }
    }

    #[test]
    fn first_words_of_another_kind_are_refused() {
        for first in [
            "",
            "n,,",
            "n,a=root,n=user,r=abc",
            "p=tls-server-end-point,,n=user,r=abc",
            "n,,r=abc,n=user",
            "n,,n=user,r=",
            &format!("n,,n=user,r={}", "x".repeat(257)),
        ] {
            let (verifier, own) = (example().0.verifier, "own");
            let begun = Challenge::with_nonce((MECHANISM, first), verifier, None, own);
            assert!(matches!(begun, Err(Failed::Malformed)), "{first}");
        }
    }

    #[test]
    fn a_proof_is_bound_to_the_certificate_where_that_was_offered_and_chosen() {
        let begin = |mechanism, flag: &str, end_point: Option<&[u8]>| {
            let first = format!("{flag},,n=,r=abc");
            Challenge::with_nonce((mechanism, &first), example().0.verifier, end_point, "own")
        };
        let Ok((bound, _)) = begin(BOUND, BINDING, Some(b"hash")) else { panic!("not bound") };
        assert_eq!(unbase64(&bound.binding).unwrap(), b"p=tls-server-end-point,,hash");
        assert!(begin(MECHANISM, "n", Some(b"hash")).is_ok());
        assert!(begin(MECHANISM, "y", None).is_ok());
        for (mechanism, flag, end_point) in [
            (MECHANISM, "y", Some(&b"hash"[..])),
            (MECHANISM, BINDING, Some(b"hash")),
            (BOUND, "n", Some(b"hash")),
            (BOUND, "p=tls-unique", Some(b"hash")),
            (BOUND, BINDING, None),
            ("OAUTHBEARER", "n", None),
        ] {
            assert!(begin(mechanism, flag, end_point).is_err(), "{mechanism} {flag}");
        }
    }

    #[test]
    fn base64_reads_back() {
        for bytes in [&b""[..], b"a", b"ab", b"abc", &[255, 0, 254, 1]] {
            assert_eq!(unbase64(&base64(bytes)).as_deref(), Some(bytes));
        }
        assert_eq!(base64(b"ab"), "YWI=");
        for none in ["YWI", "Y===", "YW!=", "===="] {
            assert_eq!(unbase64(none), None, "{none}");
        }
    }
}
