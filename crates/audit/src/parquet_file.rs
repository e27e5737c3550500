//! A Parquet file of an answer, made of its Arrow stream by whoever asked: a server needs no disk
//! for it, and the file is the same wherever the ledger was read.

use std::io::{self, Read, Write};

use arrow::ipc::reader::StreamReader;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::served::AS_OF_SEQ;

/// Copies an Arrow stream ([`crate::Form::Arrow`]) into a Parquet file with zstd, as of which event
/// it is included, and says how many rows there were.
///
/// # Errors
/// When the stream is none or ends early, or the file cannot be written.
pub fn write_parquet(stream: impl Read, file: impl Write + Send) -> io::Result<u64> {
    let reader = StreamReader::try_new(stream, None).map_err(io::Error::other)?;
    let schema = reader.schema();
    let as_of = schema.metadata().get(AS_OF_SEQ).cloned();
    let as_of = as_of.map(|seq| vec![KeyValue::new(AS_OF_SEQ.to_owned(), seq)]);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(as_of)
        .build();
    let writer = ArrowWriter::try_new(file, schema, Some(properties));
    let mut writer = writer.map_err(io::Error::other)?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(io::Error::other)?;
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(io::Error::other)?;
    }
    writer.close().map_err(io::Error::other)?;
    Ok(rows)
}
