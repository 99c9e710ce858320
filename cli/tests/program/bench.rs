//! `maxmargin bench`: every case gives figures. The tests assert none of them, because they depend on the machine.

use crate::support::Folder;

#[test]
fn every_case_gives_figures() {
    let folder = Folder::new();
    let json = folder.json("bench --quick --filter 64 --device cpu");
    let cases = json["cases"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(cases.len() > 60, "{} cases", cases.len());
    for case in cases {
        for field in ["seconds", "ceiling_seconds", "bytes_per_second", "samples_per_second", "ceiling_fraction"] {
            assert!(case[field].as_f64().is_some_and(|x| x.is_finite() && x > 0.0), "{field} of {case}");
        }
        let is_gradient = case["case"].as_str().is_some_and(|name| name.ends_with("gradient"));
        assert_eq!(case["bytes_written"].as_u64().is_some_and(|bytes| bytes > 0), is_gradient, "{case}");
    }
    assert!(json["smallest_call_seconds"].as_f64().is_some_and(|x| x > 0.0), "{json}");
}

#[test]
fn a_filter_without_cases_is_an_error() {
    Folder::new().fails("bench --filter nothing-like-this", 2, &["--filter nothing-like-this", "no case"]);
}
