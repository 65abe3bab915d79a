use proptest::prelude::*;

use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn bounds(min: &str, max: &str) -> Bounds {
    Bounds::new(Some(min), Some(max)).unwrap().unwrap()
}

#[test]
fn a_prerelease_is_outside_of_bounds_that_have_none() {
    assert!(!bounds("3.4.0", "").has(&version("3.5.0-ea.2")));
    assert!(bounds("3.4.0", "").leaves_out(&version("3.5.0-ea.2")));
    assert!(!bounds("3.4.0", "").leaves_out(&version("3.3.0-ea.2")));
    assert!(bounds("3.4.0-0", "").has(&version("3.5.0-ea.2")));
    assert!(bounds("3.4.0", "4.0.0-0").has(&version("3.5.0-ea.2")));
    assert!(!bounds("3.5.0", "4.0.0-0").has(&version("3.5.0-ea.2")));
}

#[test]
fn what_an_upper_bound_does_not_say_may_be_anything() {
    assert!(
        bounds("", "2.16").has(&version("2.16.9")) && !bounds("", "2.16").has(&version("2.17.0"))
    );
    assert!(bounds("", "v2").has(&version("2.99.1")) && !bounds("", "2").has(&version("3.0.0")));
    assert!(
        bounds("2.16", "").has(&version("2.16.0")) && !bounds("2.16", "").has(&version("2.15.9"))
    );
    assert!(bounds("", "2.16.0").has(&version("2.16.0+build")));
    assert_eq!(bounds("2.16.0", "2.16.0").exact(), Some(&version("2.16.0")));
    assert!(bounds("2.16", "2.16.0").exact().is_none());
    for wrong in ["latest", "2.x", "2.16.0.1", "2.16-rc1", ">=1.0.0", "02.1.0"] {
        assert_eq!(Bounds::new(None, Some(wrong)).unwrap_err(), wrong);
    }
    assert!(Bounds::new(None, Some("")).unwrap().is_none());
}

#[test]
fn ranges_mean_what_they_mean_to_olm() {
    for (range, inside, outside) in [
        (
            ">=1.0.0 <2.0.0 || 3.x",
            &["1.0.0", "2.0.0-rc1", "3.9.0"][..],
            &["2.0.0", "1.0.0-rc1", "4.0.0"][..],
        ),
        ("1.2.3", &["1.2.3", "1.2.3+b"], &["1.2.4"]),
        (">= 1.2.3", &["1.2.3"], &["1.2.2"]),
        (">1.2.x", &["1.3.0"], &["1.2.9"]),
        ("<=1.x", &["1.9.9"], &["2.0.0"]),
        ("<1.2.x >=1.0.0", &["1.1.9"], &["1.2.0"]),
        ("!=1.2.3", &["1.2.4"], &["1.2.3"]),
        (">1.0.0<2.0.0", &["1.5.0"], &["2.0.0"]),
        (">=1.0.0-0 !1.5.0", &["1.0.0-a"], &["1.5.0"]),
    ] {
        let range: Range = range.parse().unwrap();
        assert!(inside.iter().all(|text| range.has(&version(text))), "{range}");
        assert!(!outside.iter().any(|text| range.has(&version(text))), "{range}");
    }
    for wrong in [
        "",
        " ",
        "1.0",
        "v1.0.0",
        ">=",
        "=>1.0.0",
        "1.0.0 ||",
        "~1.0.0",
        "^1.0.0",
        "1.0.0,2.0.0",
        "latest",
    ] {
        assert!(wrong.parse::<Range>().is_err(), "{wrong:?}");
    }
}

fn any_version() -> impl Strategy<Value = Version> {
    (0..4u64, 0..4u64, 0..4u64, prop::sample::select(vec!["", "-0", "-rc1", "-rc.2", "+b"]))
        .prop_map(|(major, minor, patch, rest)| version(&format!("{major}.{minor}.{patch}{rest}")))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_version_is_on_one_side_of_another(a in any_version(), b in any_version()) {
        let has = |operator: &str| format!("{operator}{b}").parse::<Range>().unwrap().has(&a);
        prop_assert_eq!(has("<"), !has(">="));
        prop_assert_eq!(has(">"), !has("<="));
        prop_assert_eq!(has("="), !has("!="));
        prop_assert_eq!(has("="), has("<=") && has(">="));
        prop_assert_eq!(has("<"), a.cmp_precedence(&b).is_lt());
    }

    #[test]
    fn blanks_and_alternatives_are_and_and_or(a in any_version(), b in any_version(), c in any_version()) {
        let has = |range: String| range.parse::<Range>().unwrap().has(&c);
        let (low, high) = (has(format!(">={a}")), has(format!("<{b}")));
        prop_assert_eq!(has(format!(">={a} <{b}")), low && high);
        prop_assert_eq!(has(format!(">={a} || <{b}")), low || high);
    }

    #[test]
    fn bounds_agree_with_ranges_on_what_is_no_prerelease(a in any_version(), b in any_version(), c in any_version()) {
        let bounds = bounds(&a.to_string(), &b.to_string());
        let range: Range = format!(">={a} <={b}").parse().unwrap();
        let opened = !(c.pre.is_empty() || !a.pre.is_empty() || !b.pre.is_empty());
        prop_assert_eq!(bounds.has(&c), range.has(&c) && !opened);
    }

    #[test]
    fn any_text_is_a_range_or_an_error(text in "[0-9x.<>=!| v-]{0,20}") {
        let _ = text.parse::<Range>();
        let _ = Bounds::new(Some(&text), None);
    }
}
