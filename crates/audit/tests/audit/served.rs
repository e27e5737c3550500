//! Answers as bytes, in each form.

use std::io;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use arrow::ipc::reader::StreamReader;
use bailiwick_audit::{AS_OF_SEQ, Audit, Error, Form, Limits, Parameters, Question, write_parquet};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::story::{ask, wait};
use crate::year::year;

fn answer(audit: &Audit, sql: &str, form: Form, limits: &Limits) -> Result<Vec<u8>, Error> {
    let none = Parameters::new();
    wait(async {
        let question = Question::Sql(sql, &none);
        audit.answer(&question, form, limits).await?.collected().await
    })
}

fn usual(audit: &Audit, sql: &str, form: Form) -> Vec<u8> {
    answer(audit, sql, form, &Limits::INTERACTIVE).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

fn batches(stream: &[u8]) -> Vec<RecordBatch> {
    StreamReader::try_new(stream, None).unwrap().map(Result::unwrap).collect()
}

/// Every table, a view-typed text, a list, no rows, no columns to speak of, and a plan.
const QUESTIONS: [&str; 7] = [
    "select * from events order by seq",
    "select * from grants order by seq",
    "select split_part(kind, '.', 1) as family, count(*) as n, array_agg(seq) as all_of_them from events group by 1 order by 1",
    "select * from calls where seq < 0",
    "select null, true, 1.5::double, 'x', current_date, link from events limit 3",
    "explain select * from calls",
    "show columns from calls",
];

#[test]
fn every_form_has_the_same_rows() {
    let audit = year(3, 120).audit();
    for sql in QUESTIONS {
        let table = ask(&audit, sql).unwrap();
        let json: serde_json::Value =
            serde_json::from_slice(&usual(&audit, sql, Form::Json)).unwrap();
        assert_eq!(json["rows"].as_array().unwrap().len(), table.rows.len(), "{sql}");
        assert_eq!(json["as_of_seq"], table.as_of_seq.unwrap());
        let lines = usual(&audit, sql, Form::Csv);
        if !sql.starts_with("explain") {
            assert_eq!(String::from_utf8(lines).unwrap(), table.csv(), "{sql}");
        }
        let stream = usual(&audit, sql, Form::Arrow);
        let read = StreamReader::try_new(&*stream, None).unwrap();
        let schema = read.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let expected: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, expected, "{sql}");
        let as_of = table.as_of_seq.unwrap().to_string();
        assert_eq!(schema.metadata().get(AS_OF_SEQ), Some(&as_of), "{sql}");
        let rows: usize = batches(&stream).iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, table.rows.len(), "{sql}");
        let mut file = Vec::new();
        assert_eq!(write_parquet(&*stream, &mut file).unwrap(), rows as u64, "{sql}");
    }
}

#[test]
fn a_stream_holds_plain_texts_and_a_file_made_of_it_the_same() {
    let audit = year(3, 60).audit();
    let sql = "select seq, kind, agent_id from events order by seq";
    let stream = usual(&audit, sql, Form::Arrow);
    let mut file = Vec::new();
    let rows = write_parquet(&*stream, &mut file).unwrap();
    let made = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
    let said = made.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let said = said.iter().find(|pair| pair.key == AS_OF_SEQ).unwrap().value.clone();
    assert_eq!(said, Some((rows - 1).to_string()));
    let made: Vec<RecordBatch> = made.build().unwrap().map(Result::unwrap).collect();
    let table = ask(&audit, sql).unwrap();
    for batches in [batches(&stream), made] {
        let mut at = 0;
        for batch in batches {
            assert_eq!(batch.column(1).data_type(), &DataType::Utf8);
            let (seq, kind) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1));
            let (kind, agent) = (kind.as_string::<i32>(), batch.column(2).as_string::<i32>());
            for row in 0..batch.num_rows() {
                let expected = &table.rows[at];
                assert_eq!(expected[0], seq.value(row));
                assert_eq!(expected[1], kind.value(row));
                assert_eq!(expected[2].as_str(), (!agent.is_null(row)).then(|| agent.value(row)));
                at += 1;
            }
        }
        assert_eq!(at, table.rows.len());
    }
}

#[test]
fn a_stream_stays_within_its_limits_and_what_fails_at_once_is_told() {
    let audit = year(3, 200).audit();
    let usual = Limits::INTERACTIVE;
    let code = |sql: &str, limits: &Limits| {
        answer(&audit, sql, Form::Arrow, limits).map(|bytes| bytes.len()).map_err(|e| e.code())
    };
    let all = "select * from events";
    assert_eq!(code(all, &Limits { bytes: 10_000, ..usual }), Err("sql_too_large"));
    assert_eq!(code(all, &Limits { rows: 10, ..usual }), Err("sql_too_many_rows"));
    assert_eq!(code("select 1 / (seq - seq) from events", &usual), Err("sql_failed"));
    assert_eq!(code("select * from nowhere", &usual), Err("sql_table_unknown"));
    assert!(code(all, &usual).is_ok_and(|bytes| bytes > 10_000));
}

#[test]
fn what_is_no_stream_becomes_no_file() {
    let audit = year(3, 60).audit();
    let stream = usual(&audit, "select * from events", Form::Arrow);
    let mut file = Vec::new();
    for broken in [&b"not a stream"[..], &stream[..stream.len() / 2], &[]] {
        assert!(write_parquet(broken, &mut file).is_err(), "{} bytes", broken.len());
    }
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert!(write_parquet(&*stream, Full).is_err());
}
