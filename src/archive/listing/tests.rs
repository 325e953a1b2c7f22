use proptest::prelude::*;

use super::*;

fn names(page: &str) -> Vec<String> {
    names_in("http://ebi.ac.uk/empiar/world_availability/11759/data/", page)
}

fn names_in(folder: &str, page: &str) -> Vec<String> {
    super::names(page, &Url::parse(folder).unwrap()).unwrap().0
}

/// The shape of EBI's pages.
const PAGE: &str = r#"<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html>
 <head><title>Index of /empiar/world_availability/11759/data</title></head>
 <body>
<h1>Index of /empiar/world_availability/11759/data</h1>
  <table>
   <tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
   <tr><th colspan="5"><hr></th></tr>
<tr><td valign="top"><img src="/icons/back.gif" alt="[PARENTDIR]"></td><td><a href="/empiar/world_availability/11759/">Parent Directory</a></td><td>&nbsp;</td></tr>
<tr><td><a href="slice_0001.dm3">slice_0001.d..&gt;</a></td><td align="right">2023-11-02 10:00  </td><td align="right"> 29M</td></tr>
<tr><td><a HREF = 'slice_0000.dm3'>slice_0000.dm3</a></td></tr>
<tr><td><a href="./a%20b+c&amp;d%C3%A9.dm3">x</a></td></tr>
<tr><td><a class="x" href="F57-8_test1.xml.gz">F57-8_test1.xml.gz</a></td></tr>
<tr><td><a href="trakem2.1528909664283.981147357.856576865/">trakem2/</a></td></tr>
<tr><td><a href="http://elsewhere/x.dm3">x</a><a href="../up.dm3">x</a><a data-href="no.dm3">x</a><a href="%2e%2e">x</a><a href="">x</a></td></tr>
</table>
</body></html>"#;

#[test]
fn only_references_to_files_in_the_folder_count() {
    // In the order of the page.
    assert_eq!(names(PAGE), ["slice_0001.dm3", "slice_0000.dm3", "a b+c&d\u{e9}.dm3", "F57-8_test1.xml.gz"]);
}

#[test]
fn references_by_path_and_by_whole_address_count_where_they_lead_into_the_folder() {
    let page = r#"<a href="/data/a%20b/s_0.dm3"><a href="https://h/data/a%20b/s_1.dm3"><a href="//h:443/data/a b/s_2.dm3">
        <a href="../a%20b/s_3.dm3"><a href="/data/%61%20b/s_4.dm3"><a href="HTTPS://H/data/./a%20b/c%2Bd.dm3">
        <a href="/data/no_0.dm3"><a href="/data/a%20b/c/no_1.dm3"><a href="http://h/data/a%20b/no_2.dm3"><a href="/data/a%20b/">
        <a href="https://other/data/a%20b/no_3.dm3"><a href="https://h:8443/data/a%20b/no_4.dm3"><a href="/no_5.dm3">
        <a href="/data%2Fa%20b/no_6.dm3"><a href="/data/a%20b/no_7.dm3?C=M"><a href="/data/a%20b/no_8.dm3#x"><a href="s3:no_9.dm3">
        <a href="..%2Fno_10.dm3"><a href="/data/a%20b"><a href="mailto:x@h"><a href="/data/a%20b/c/">"#;
    let expected = ["s_0.dm3", "s_1.dm3", "s_2.dm3", "s_3.dm3", "s_4.dm3", "c+d.dm3"];
    assert_eq!(names_in("https://h/data/a%20b/", page), expected);
    assert_eq!(
        names_in("http://h:8000/", r#"<a href="/s.dm3"><a href="http://h:8000/t.dm3"><a href="u.dm3">"#),
        ["s.dm3", "t.dm3", "u.dm3"]
    );
}

/// The first and the last lines of a server's page, between which stand those of the files.
const SERVERS: [(&str, &str, &str); 12] = [
    (
        "nginx",
        "<html>\r\n<head><title>Index of /d/</title></head>\r\n<body>\r\n<h1>Index of /d/</h1><hr><pre><a href=\"../\">../</a>\r\n",
        "</pre><hr></body>\r\n</html>\r\n",
    ),
    (
        "Apache, a table",
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <head>\n  <title>Index of /d</title>\n </head>\n <body>\n<h1>Index of /d</h1>\n  <table>\n   <tr><th><a href=\"?C=N;O=D\">Name</a></th></tr>\n",
        "   <tr><th colspan=\"5\"><hr></th></tr>\n</table>\n<address>Apache Server at h Port 80</address>\n</body></html>\n",
    ),
    (
        "Apache, a list",
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <head>\n </head>\n <body>\n<h1>Index of /d</h1>\n<ul>",
        "</ul>\n</body></html>\n",
    ),
    (
        "Apache, lines",
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <body>\n<h1>Index of /d</h1>\n<pre><img src=\"/i.gif\"> <a href=\"?C=N;O=D\">Name</a><hr>",
        "<hr></pre>\n</body></html>\n",
    ),
    ("Apache without its first and last lines", "<table>\n", "</table>\n"),
    (
        "Python",
        "<!DOCTYPE HTML>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n</head>\n<body>\n<h1>Directory listing for /d/</h1>\n<hr>\n<ul>\n",
        "</ul>\n<hr>\n</body>\n</html>\n",
    ),
    (
        "lighttpd",
        "<!DOCTYPE html>\n<html>\n<head>\n<style type=\"text/css\">\nbody { margin: 0 }\n</style>\n</head>\n<body>\n<h2>Index of /d/</h2>\n<div class=\"list\">\n<table summary=\"Directory Listing\" cellpadding=\"0\">\n<tbody>\n",
        "</tbody>\n</table>\n</div>\n<div class=\"foot\">lighttpd</div>\n\n</body>\n</html>\n",
    ),
    (
        "IIS",
        "<html><head><title>h - /d/</title></head><body><H1>h - /d/</H1><hr>\r\n\r\n<pre><A HREF=\"/\">[To Parent Directory]</A><br>",
        "</pre><hr></body></html>",
    ),
    (
        "Jetty",
        "<!DOCTYPE html>\n<HTML lang=\"en\"><HEAD></HEAD>\n<BODY>\n<TABLE class=\"listing\">\n",
        "</tbody>\n</TABLE>\n</BODY></HTML>\n",
    ),
    ("Go", "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n", "</pre>\n"),
    ("Go before 1.23", "<pre>\n", "</pre>\n"),
    ("a page that has left off its last line", "<html><body><ul>\n", "</ul></body>\n"),
];

fn of_files(count: usize) -> String {
    (0..count).map(|number| format!("<tr><td><a href=\"s_{number}.tif\">s_{number}.tif</a></td></tr>\r\n")).collect()
}

#[test]
fn pages_of_all_servers_are_whole() {
    for (server, begin, end) in SERVERS {
        let page = format!("{begin}{}{end}", of_files(3));
        assert!(!is_cut(&page), "{server}");
        assert_eq!(names_in("http://h/d/", &page).len(), 3, "{server}");
        assert!(!is_cut(&format!("{begin}{end}")), "{server}");
    }
    for page in [
        "<a href=\"a.tif\">a.tif</a>\n<a href=\"b.tif\">",
        "<!DOCTYPE html><p><a href=a>",
        "<prefix><tables>",
        "<?xml version=\"1.0\"?>",
    ] {
        assert!(!is_cut(page), "of a page that opens nothing, nothing is demanded: {page}");
    }
}

#[test]
fn a_page_of_any_server_that_ends_before_its_last_file_is_cut() {
    for (server, begin, end) in SERVERS {
        let page = format!("{begin}{}{end}", of_files(20));
        let last = page.rfind("</td>").unwrap();
        // What ends before anything was opened has no files.
        for at in (begin.len()..last).filter(|at| page.is_char_boundary(*at)) {
            assert!(is_cut(&page[..at]), "{server}: {:?}", &page[at.saturating_sub(40)..at]);
        }
    }
}

#[test]
fn a_page_without_references_has_no_names() {
    for page in
        ["", "<html>", "href", "<a href", "<a href=", "<a href=\"", "<a href=\"a", "<a href=a.dm3>", "é href=\"é"]
    {
        assert!(names(page).is_empty(), "{page}");
    }
}

#[tokio::test]
async fn a_folder_of_this_machine_is_listed_without_the_folders_in_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a b.dm3"), b"x").unwrap();
    std::fs::create_dir(folder.path().join("c.dm3")).unwrap();
    let location = Location::parse(folder.path().to_str().unwrap(), None).unwrap();
    let remote = Remote::new(Default::default(), std::time::Duration::from_secs(10), Default::default()).unwrap();
    assert_eq!(files(&remote, &location).await.unwrap().names, ["a b.dm3"]);
    let gone = files(&remote, &location.join("gone")).await.unwrap_err().to_string();
    assert!(gone.contains("folder: No such file"), "{gone}");
    let bucket = Location::parse("s3://bucket/key", None).unwrap();
    let error = files(&remote, &bucket).await.unwrap_err().to_string();
    assert!(
        error.starts_with("s3://bucket/key/: url: listing of an address with s3: is not supported; name the files")
    );
    assert!(error.contains("as s3://BUCKET/KEY, by `urls = ["), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(500)))]

    #[test]
    fn names_survive_being_listed(given in prop::collection::btree_set("[^/\\x00-\\x1f\\x7f-\\u{9f}]{1,40}", 0..8)) {
        let mut page = String::from("<html>");
        for name in given.iter().filter(|name| !matches!(name.as_str(), "." | "..")) {
            let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
            page += &format!("<a href=\"{name}\">x</a> ");
        }
        let expected: Vec<String> = given.into_iter().filter(|name| !matches!(name.as_str(), "." | "..")).collect();
        prop_assert_eq!(names(&page), expected);
    }

    #[test]
    fn a_page_loses_no_name_unseen(end in any::<prop::sample::Index>(), server in 0..SERVERS.len(), count in 1usize..8) {
        let (server, begin, close) = SERVERS[server];
        let page = format!("{begin}{}{close}", of_files(count));
        let cut = &page[..end.index(page.len())];
        let all = names_in("http://h/d/", cut).len();
        prop_assert!(is_cut(cut) || all == count || all == 0, "{server}: {all} of {count}");
    }

    #[test]
    fn any_page_gives_plain_names(page in "(<a href=[\"']?|href|[ =\"'a-c.%0-9é&;?#:/]|\\PC){0,60}") {
        for name in names(&page) {
            prop_assert!(!name.is_empty() && !name.contains('/') && name != ".." && name.len() <= 255, "{name}");
        }
    }
}
