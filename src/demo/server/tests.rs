use std::sync::Mutex;

use super::*;

const TIFF: &str = "ebi/pub/databases/IDR/idr0086-miron-micrographs/20200610-ftp/experimentD/Miron_FIB-SEM/\
                    Miron_FIB-SEM_processed/Figure_S3B_FIB-SEM_U2OS_20x20x20nm_xy.tif";
const EPFL: &str = "epfl/groups/c/cv/cvlab-unit/www/data/%20ElectronMicroscopy_Hippocampus/volumedata.tif";
const GROUP: &str = "s3/janelia-cosem-datasets/jrc_mus-nacc-2/jrc_mus-nacc-2.zarr/recon-2/em/fibsem-int16";

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: bytes::Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(replica: &Replica, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut request = client.request(method.parse().unwrap(), format!("http://{}/{path}", replica.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap(),
    }
}

#[tokio::test]
async fn a_file_is_served_whole_and_by_ranges() {
    let replica = Replica::start().unwrap();
    let whole = ask(&replica, "GET", TIFF, &[]).await;
    assert_eq!((whole.status, &whole.body[..4], whole.body.len()), (200, &b"MM\0*"[..], 841_218));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    for (range, expected) in [("bytes=0-3", 0..4), ("bytes=841210-", 841_210..841_218), ("bytes=-8", 841_210..841_218)]
    {
        let part = ask(&replica, "GET", TIFF, &[("range", range)]).await;
        assert_eq!((part.status, &part.body), (206, &whole.body.slice(expected.clone())));
        assert_eq!(part.header("content-range"), format!("bytes {}-{}/841218", expected.start, expected.end - 1));
        assert_eq!(part.header("etag"), whole.header("etag"));
    }
    let beyond = ask(&replica, "GET", TIFF, &[("range", "bytes=841218-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range"), beyond.body.len()), (416, "bytes */841218", 0));
    assert_eq!(replica.requests(), 5);
}

#[tokio::test]
async fn head_says_what_get_would_without_the_body() {
    let replica = Replica::start().unwrap();
    let head = ask(&replica, "HEAD", EPFL, &[]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "558047", 0));
    assert_eq!(head.header("last-modified"), "Thu, 01 Jan 2026 00:00:00 GMT");
    assert_eq!(ask(&replica, "POST", EPFL, &[]).await.status, 405);
}

#[tokio::test]
async fn if_match_guards_against_another_object() {
    let replica = Replica::start().unwrap();
    let head = ask(&replica, "HEAD", EPFL, &[]).await;
    let etag = head.header("etag");
    for (condition, status) in [(etag, 206), ("*", 206), ("\"other\"", 412), (&format!("\"x\", {etag}"), 206)] {
        let answer = ask(&replica, "GET", EPFL, &[("if-match", condition), ("range", "bytes=8-15")]).await;
        assert_eq!(answer.status, status, "{condition}");
    }
    let answer = ask(&replica, "GET", EPFL, &[("if-range", "\"other\""), ("range", "bytes=8-15")]).await;
    assert_eq!(answer.status, 206, "If-Range is ignored");
}

#[tokio::test]
async fn a_missing_key_of_a_bucket_is_told_in_xml() {
    let replica = Replica::start().unwrap();
    let there = ask(&replica, "GET", &format!("{GROUP}/s0/0/0/0"), &[]).await;
    assert_eq!((there.status, there.header("content-type")), (200, "binary/octet-stream"));
    let absent = ask(&replica, "GET", &format!("{GROUP}/s0/1/2/2"), &[]).await;
    assert_eq!((absent.status, absent.header("content-type")), (404, "application/xml"));
    assert!(absent.body.windows(22).any(|bytes| bytes == b"<Code>NoSuchKey</Code>"));
    let list = "s3/janelia-cosem-datasets?list-type=2&delimiter=%2F&prefix=jrc_mus-nacc-2%2F";
    let list = ask(&replica, "GET", list, &[]).await;
    assert!(String::from_utf8_lossy(&list.body).contains("<Prefix>jrc_mus-nacc-2/jrc_mus-nacc-2.zarr/</Prefix>"));
}

#[tokio::test]
async fn omero_answers_by_its_routes() {
    let replica = Replica::start().unwrap();
    for (path, key) in [
        ("idr/api/v0/m/images/9846137/", "data"),
        ("idr/webgateway/original_file_paths/9846137/", "client"),
        ("idr/webclient/api/annotations/?type=map&image=9846137", "annotations"),
        ("idr/webgateway/imgData/9846137/", "Exception"),
    ] {
        let answer = ask(&replica, "GET", path, &[]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{path}");
        let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(document.get(key).is_some(), "{path}");
    }
    assert_eq!(ask(&replica, "GET", "idr/api/v0/m/images/1/", &[]).await.status, 404);
    assert_eq!(ask(&replica, "GET", "elsewhere", &[]).await.status, 404);
}

#[tokio::test]
async fn a_folder_is_listed_and_its_name_without_slash_redirected() {
    let replica = Replica::start().unwrap();
    let page = ask(&replica, "GET", "epfl/groups/c/cv/cvlab-unit/www/data/", &[]).await;
    assert!(String::from_utf8_lossy(&page.body).contains(r#"href="%20ElectronMicroscopy_Hippocampus/""#));
    let redirect = ask(&replica, "GET", "ebi/pub", &[]).await;
    assert_eq!((redirect.status, redirect.header("location")), (301, "/ebi/pub/"));
    assert_eq!(ask(&replica, "GET", "ebi/nothing/", &[]).await.status, 404);
}

#[tokio::test]
async fn the_access_log_has_a_line_per_request() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let log: Log = Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned()));
    let replica = Replica::start_with(ReplicaOptions { log: Some(log), ..ReplicaOptions::default() }).unwrap();
    ask(&replica, "GET", TIFF, &[("range", "bytes=0-9")]).await;
    ask(&replica, "GET", "nothing?x=1", &[]).await;
    let expected = [format!("GET /{TIFF} bytes=0-9 206 10"), "GET /nothing?x=1 - 404 18".to_owned()];
    assert_eq!(*lines.lock().unwrap(), expected);
}

#[test]
fn nothing_listens_once_the_replica_is_dropped() {
    let replica = Replica::start().unwrap();
    let address = replica.address();
    let open = std::net::TcpStream::connect(address).unwrap();
    drop(replica);
    assert!(std::net::TcpStream::connect(address).is_err());
    drop(open);
}
