//! The archive in a bucket of a real S3 server (moto's), and in a directory: sealed, altered, found
//! out, made anew.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::serve::{Launch, Serve, plain};
use crate::support::{PATIENCE, said, tool, until};

const ACCESS: [(&str, &str); 5] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ALLOW_HTTP", "true"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// A running S3 server with one bucket, `evidence`; dropping it kills it.
struct Bucket {
    process: Child,
    url: String,
}

impl Bucket {
    fn start() -> Option<Self> {
        let server = tool("py/bin/moto_server")?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(server);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let bucket = Self { process, url: format!("http://127.0.0.1:{port}") };
        until("the S3 server answered", PATIENCE, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(())
        });
        bucket.curl(&["-X", "PUT", &format!("{}/evidence", bucket.url)]);
        Some(bucket)
    }

    fn curl(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("curl")
            .args(["-sSf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "test:test"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", self.url, said(&output));
        output.stdout
    }

    fn object(&self, name: &str) -> String {
        format!("{}/evidence/ledger/{name}", self.url)
    }

    fn access(&self) -> Vec<(&'static str, String)> {
        let mut access: Vec<_> = ACCESS.map(|(name, value)| (name, value.to_owned())).to_vec();
        access.push(("AWS_ENDPOINT_URL", self.url.clone()));
        access
    }

    /// Runs `bailiwick archive` on a stopped ledger.
    fn archive(&self, verb: &str, data: &Path) -> std::process::Output {
        let data = data.display().to_string();
        let place = ["--archive", "s3://evidence/ledger"];
        let mut command = plain(&["archive", verb, "--json", "--data", &data]);
        command.args(place).envs(self.access()).output().unwrap()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The answer's code, if it is a refusal.
fn refused(serve: &Serve, sql: &str) -> (u16, Value) {
    let answer = serve.client().post("/v1/sql", &json!({ "sql": sql }));
    (answer.status, answer.body)
}

#[test]
fn a_bucket_holds_the_archive_and_what_is_altered_there_is_found_out() {
    let Some(bucket) = Bucket::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut launch = Launch::embedded(&dir.path().join("data"));
    launch.more.extend(["--archive", "s3://evidence/ledger", "--archive-events", "1000000"]);
    launch.env = bucket.access();
    let serve = launch.start();
    for at in 0..20 {
        let owner = json!({"owner": format!("owner-{at}@example.com")});
        serve.client().post("/v1/owners", &owner).ok();
        if at % 8 == 7 {
            let sealed = serve.client().post("/v1/archive/seal", &json!({})).ok();
            assert!(sealed["segment"]["last"].as_u64().is_some(), "{sealed}");
        }
    }
    let links = "select count(link), count(distinct link), max(seq) - min(seq) + 1 from events";
    let whole = serve.client().post("/v1/sql", &json!({ "sql": links })).ok();
    let row = whole["rows"][0].as_array().unwrap().clone();
    assert!(row[0] == row[1] && row[0] == row[2], "{whole}");
    let status = serve.client().get("/v1/archive").ok();
    assert_eq!(status["segments"], 2, "{status}");
    // Each segment is on the ledger as it is in the manifest.
    let column = |sql: &str| {
        let answer = serve.client().post("/v1/sql", &json!({ "sql": sql })).ok();
        let rows = answer["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let recorded = column("select detail from events where kind = 'segment.sealed' order by seq");
    let listed = column("select sha256 from segments order by seq");
    assert_eq!((recorded.len(), listed.len()), (2, 2));
    assert!(recorded.iter().zip(&listed).all(|(event, file)| event.contains(file)), "{recorded:?}");
    // A start goes on from the bucket.
    let launch = serve.stop();
    let serve = launch.start();
    let again = serve.client().post("/v1/sql", &json!({ "sql": links })).ok();
    assert!(again["rows"][0][0].as_u64() >= row[0].as_u64(), "{again}");

    let listed = String::from_utf8(bucket.curl(&[&format!("{}/evidence", bucket.url)])).unwrap();
    let name = listed.split("segments/").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    let object = bucket.object(&format!("segments/{name}"));
    let mut bytes = bucket.curl(&[&object]);
    bytes[200] ^= 1;
    let altered = dir.path().join("altered");
    std::fs::write(&altered, &bytes).unwrap();
    bucket.curl(&["-X", "PUT", "--data-binary", &format!("@{}", altered.display()), &object]);
    let (status, told) = refused(&serve, "select max(link) from events");
    assert_eq!((status, &told["code"]), (503, &json!("archive_altered")));
    assert!(told["detail"].as_str().unwrap().contains(name), "{told}");
    // Everything else is answered.
    assert_eq!(refused(&serve, "select count(*) from owners").0, 200);
    assert_eq!(serve.client().get("/readyz").status, 200);

    let launch = serve.stop();
    let found = bucket.archive("verify", &launch.data);
    assert_eq!(found.status.code(), Some(4), "{}", said(&found));
    assert!(said(&found).contains(name), "{}", said(&found));
    let rebuilt = bucket.archive("rebuild", &launch.data);
    assert!(rebuilt.status.success(), "{}", said(&rebuilt));
    let verified = bucket.archive("verify", &launch.data);
    assert!(verified.status.success(), "{}", said(&verified));
    let serve = launch.start();
    assert_eq!(refused(&serve, "select max(link) from events").0, 200);
}

#[test]
fn an_event_is_in_sql_soon_after_it_is_on_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let mut launch = Launch::embedded(&dir.path().join("data"));
    launch.more.extend(["--archive-events", "50"]);
    let serve = launch.start();
    for at in 0..120 {
        let owner = json!({"owner": format!("owner-{at}@example.com")});
        let index = serve.client().post("/v1/owners", &owner).ok()["receipt"]["index"].clone();
        let sql = format!("select kind from events where seq = {index}");
        let answer = serve.client().post("/v1/sql", &json!({ "sql": sql })).ok();
        assert_eq!(answer["rows"], json!([["owner.registered"]]), "{index}");
        assert!(answer["as_of_seq"].as_u64() >= index.as_u64(), "{answer}");
    }
    until("rows were sealed meanwhile", Duration::from_secs(30), || {
        let status = serve.client().get("/v1/archive").ok();
        (status["segments"].as_u64()? > 0).then_some(())
    });
}
