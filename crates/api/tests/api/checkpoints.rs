//! Checkpoints over HTTP: a note that other tools verify.

use bailiwick_core::record::PublicKey;
use bailiwick_core::record::note::{self, Checkpoint};
use serde_json::json;

use super::house::House;

#[tokio::test]
async fn the_tree_is_signed_when_asked_and_everybody_reads_the_note() {
    let house = House::open();
    house.furnish().await;
    let none = house.get_as("", "/ledger/checkpoint").await;
    assert_eq!(none.problem(), (404, "checkpoint_none".to_owned()));
    let before = house.events();
    let signed = house.post("/v1/checkpoints", json!({})).await.done();
    assert_eq!((&signed["index"], &signed["size"]), (&json!(before), &json!(before)));
    let note = signed["note"].as_str().unwrap();
    let read = Checkpoint::read(note).unwrap();
    assert_eq!(read.root.to_string(), signed["root"]);
    let key = PublicKey(house.ledger.signing_key().verifying_key().to_bytes());
    note::verify(note, &house.ledger.info().origin, &key).unwrap();
    assert_eq!(note::verifier_key(&read.origin, &key).unwrap(), signed["verifier_key"]);

    let last = house.get_as("", "/ledger/checkpoint").await;
    assert_eq!(last.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(last.text, note);
    // Nothing was recorded since.
    assert_eq!(house.post("/v1/checkpoints", json!({})).await.done(), signed);
    assert_eq!(house.events(), before + 1);

    let sql = "select seq, size, root, origin, note from checkpoints";
    let row = json!([before, before, signed["root"], read.origin, note]);
    let told = house.post("/v1/sql", json!({"sql": sql})).await.done();
    assert_eq!(told["rows"], json!([row]));
}

#[tokio::test]
async fn rows_are_held_against_the_ledger_while_it_grows() {
    let house = House::open();
    house.furnish().await;
    let sql = "select holds, rows, fault from verify_chain($from, $to)";
    for _ in 0..5 {
        let last = house.events() - 1;
        let given = json!({"sql": sql, "params": {"from": 0, "to": last}});
        let told = house.post("/v1/sql", given).await.done();
        assert_eq!(told["rows"], json!([[true, last + 1, null]]));
    }
}

#[tokio::test]
async fn nothing_is_signed_by_a_ledger_that_is_closed() {
    let house = House::open();
    house.ledger.close();
    let refused = house.post("/v1/checkpoints", json!({})).await;
    assert_eq!(refused.problem(), (503, "unavailable".to_owned()));
}
