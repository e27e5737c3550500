//! What the record costs beside the bare hashes and signatures it is made of.
//!
//! Bodies have 330 bytes, as a call event has. Each `floor` does the same hashes and signatures
//! over bytes that already lie ready, and nothing else.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at what cannot happen")]

use std::hint::black_box;

use bailiwick_core::record::frame::{self, HEADER_BYTES};
use bailiwick_core::record::hash::{self, LedgerId, Link, PublicKey};
use bailiwick_core::record::tree::CompactRange;
use bailiwick_core::record::verify::{self, Position, Signatures};
use bailiwick_core::record::{EntryBuilder, EntryRef, KeyRing, Sealed};
use bailiwick_core::time::Time;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::{Signature, Signer, SigningKey};

const BODY_BYTES: usize = 330;
const LEDGER: LedgerId = LedgerId([1; 16]);

criterion_group!(benches, event, seal, verify_entry, tree);
criterion_main!(benches);

fn event(c: &mut Criterion) {
    let (body, header) = ([7; BODY_BYTES], [8; HEADER_BYTES]);
    let mut group = c.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    group.bench_function("floor: digest", |b| b.iter(|| hash::body_digest(black_box(&body))));
    group.bench_function("floor: link", |b| b.iter(|| hash::event_link(black_box(&header))));
    group.bench_function("append: digest, header, link", |b| {
        let mut out = Vec::with_capacity(1_000);
        b.iter(|| {
            out.clear();
            frame::append_frame(&mut out, 110, 1, 5, Time(6), Link([9; 32]), black_box(&body))
        });
    });
    group.finish();
}

fn seal(c: &mut Criterion) {
    let (key, body) = (key(), [7; BODY_BYTES]);
    let mut group = c.benchmark_group("seal of 64 events");
    group.throughput(Throughput::Elements(64));
    group.bench_function("floor", |b| b.iter(|| floor_of_sealing(&key, 64, black_box(&body))));
    group.bench_function("entry", |b| b.iter(|| sealed(&key, 64, black_box(&body))));
    group.finish();
}

fn verify_entry(c: &mut Criterion) {
    let key = key();
    let sealed = sealed(&key, 256, &[7; BODY_BYTES]);
    let keys = KeyRing::new(&PublicKey(key.verifying_key().to_bytes())).unwrap();
    let at = Position::genesis(LEDGER);
    let headers = EntryRef::parse(&sealed.bytes).unwrap().without_bodies();
    let mut group = c.benchmark_group("verify of 256 events");
    group.throughput(Throughput::Elements(256));
    group.bench_function("floor", |b| {
        let headers: Vec<[u8; HEADER_BYTES]> = frames(&sealed).map(|f| *f.header_bytes).collect();
        let bodies: Vec<Vec<u8>> = frames(&sealed).map(|f| f.body.to_vec()).collect();
        let signed = [&sealed.bytes[..44], headers.as_flattened()].concat();
        let context = blake3::Hasher::new_derive_key("bailiwick v1 entry");
        let message = *context.clone().update(&signed).finalize().as_bytes();
        let signature = Signature::from_bytes(&key.sign(&message).to_bytes());
        let public = key.verifying_key();
        b.iter(|| {
            for (header, body) in headers.iter().zip(&bodies) {
                black_box((hash::event_link(header), hash::body_digest(body)));
            }
            let message = context.clone().update(&signed).finalize();
            public.verify_strict(message.as_bytes(), &signature)
        });
    });
    let check = |b: &mut criterion::Bencher<'_>, signatures: Signatures| {
        b.iter(|| verify::verify_entry(&at, LEDGER, &keys, signatures, black_box(&sealed.bytes)));
    };
    group.bench_function("entry", |b| check(b, Signatures::Check));
    group.bench_function("entry, signature trusted", |b| check(b, Signatures::TrustedUpTo(1)));
    group.bench_function("headers", |b| {
        b.iter(|| {
            verify::verify_headers(&at, LEDGER, &keys, Signatures::Check, black_box(&headers))
        });
    });
    group.finish();
}

fn tree(c: &mut Criterion) {
    let sealed = sealed(&key(), 256, &[7; BODY_BYTES]);
    let mut group = c.benchmark_group("tree");
    group.throughput(Throughput::Elements(256));
    group.bench_function("append 256 events", |b| {
        let mut range = CompactRange::new();
        b.iter(|| frames(black_box(&sealed)).for_each(|frame| range.push(frame.leaf())));
    });
    group.finish();
}

/// The hashes and the signature of one entry, over bytes that lie ready.
fn floor_of_sealing(key: &SigningKey, events: usize, body: &[u8]) -> Signature {
    let header = [8; HEADER_BYTES];
    for _ in 0..events {
        black_box((hash::body_digest(body), hash::event_link(black_box(&header))));
    }
    let signed = vec![8; 44 + events * HEADER_BYTES];
    key.sign(&blake3::derive_key("bailiwick v1 entry", black_box(&signed)))
}

fn sealed(key: &SigningKey, events: u64, body: &[u8]) -> Sealed {
    let mut entry = EntryBuilder::new(LEDGER, &Position::genesis(LEDGER), 1);
    for n in 0..events {
        entry.push(110, 1, Time(n + 1), body).unwrap();
    }
    entry.seal(key).unwrap()
}

fn frames(sealed: &Sealed) -> impl Iterator<Item = frame::FrameRef<'_>> {
    EntryRef::parse(&sealed.bytes).unwrap().frames()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}
