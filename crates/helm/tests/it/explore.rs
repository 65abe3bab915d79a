use airlift_helm::{ExploreOptions, Explored, Gated, RenderError, RenderOptions};
use airlift_spec::Ctx;

use crate::world::{chart, find, folder, helm};

/// An object that asks for `reg.io/NAME:1` where the condition holds.
fn pod(name: &str, condition: &str) -> String {
    format!(
        "{{{{ if {condition} }}}}\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
         spec: {{containers: [{{name: a, image: 'reg.io/{name}:1'}}]}}\n{{{{ end }}}}\n"
    )
}

/// Values in which all of these are switched off.
fn all_off(names: std::ops::RangeInclusive<char>) -> String {
    names.map(|name| format!("{name}: {{enabled: false}}\n")).collect::<Vec<_>>().concat()
}

fn explore_with(
    files: &[(&str, &str)],
    options: &RenderOptions,
    limits: &ExploreOptions,
) -> Result<Explored, RenderError> {
    let helm = find(&airlift_testkit::tools::tool("helm").unwrap())?;
    let chart = chart(files);
    helm.prepare(&chart)?.explore(options, limits, &Ctx::default())
}

fn explore(files: &[(&str, &str)]) -> Explored {
    explore_with(files, &RenderOptions::default(), &ExploreOptions::default()).unwrap()
}

/// `name: gate` of what comes only by a switch.
fn gates(explored: &Explored) -> Vec<String> {
    let describe = |gated: &Gated| format!("{}: {}", gated.image.reference.path(), gated.gate());
    explored.gated.iter().map(describe).collect()
}

#[test]
fn an_image_behind_a_switch_is_found_with_the_switch() {
    let _ = helm!();
    let [base, extra, outside] = [
        pod("base", "true"),
        pod("extra", ".Values.extra.enabled"),
        pod("outside", "not .Values.db.embedded"),
    ];
    let explored = explore(&[
        ("values.yaml", "extra: {enabled: false}\ndb: {embedded: true}\nquiet: false"),
        ("templates/a.yaml", &base),
        ("templates/b.yaml", &extra),
        ("templates/c.yaml", &outside),
    ]);
    let found: Vec<_> = explored.images.references().iter().map(ToString::to_string).collect();
    assert_eq!(found, ["reg.io/base:1"]);
    assert_eq!(gates(&explored), ["extra: extra.enabled=true", "outside: db.embedded=false"]);
    let finding = &explored.findings("app")[0];
    assert_eq!(finding.code, "switched-image");
    assert_eq!(finding.reference.as_deref(), Some("reg.io/extra:1"));
}

#[test]
fn either_of_two_switches_is_named() {
    let _ = helm!();
    let either = pod("x", "or .Values.a.enabled .Values.b.enabled");
    let explored = explore(&[
        ("values.yaml", "a: {enabled: false}\nb: {enabled: false}"),
        ("templates/x.yaml", &either),
    ]);
    assert_eq!(gates(&explored), ["x: a.enabled=true, or b.enabled=true"]);
}

#[test]
fn switches_that_act_only_together_are_found_and_no_others_named() {
    let _ = helm!();
    let both = pod("x", "and .Values.b.enabled .Values.f.enabled");
    let values = all_off('a'..='g');
    let explored = explore(&[("values.yaml", &values), ("templates/x.yaml", &both)]);
    assert_eq!(gates(&explored), ["x: b.enabled=true with f.enabled=true"]);
}

#[test]
fn switches_that_exclude_each_other_are_tried_apart() {
    let _ = helm!();
    let both = pod("x", "and .Values.a.enabled .Values.b.enabled");
    let never = "{{ if and .Values.a.enabled .Values.d.enabled }}{{ fail \"not both\" }}{{ end }}";
    let values = all_off('a'..='d');
    let explored = explore(&[
        ("values.yaml", &values),
        ("templates/x.yaml", &both),
        ("templates/never.yaml", never),
    ]);
    assert_eq!(gates(&explored), ["x: a.enabled=true with b.enabled=true"]);
    assert!(explored.refused.is_empty(), "alone, each of them is taken");
}

#[test]
fn choices_of_comments_and_schemas_are_tried() {
    let _ = helm!();
    let [cloud, big] =
        [pod("cloud", "eq .Values.storage.mode \"cloud\""), pod("big", "eq .Values.size \"big\"")];
    let explored = explore(&[
        ("values.yaml", "storage:\n  # one of \"disk\", \"cloud\"\n  mode: disk\nsize: small\n"),
        ("values.schema.json", r#"{"properties": {"size": {"enum": ["small", "big"]}}}"#),
        ("templates/a.yaml", &cloud),
        ("templates/b.yaml", &big),
    ]);
    assert_eq!(gates(&explored), ["big: size=big", "cloud: storage.mode=cloud"]);
}

#[test]
fn a_flag_that_only_a_template_names_is_tried() {
    let _ = helm!();
    let hidden = pod("x", "(.Values.a).enabled");
    let plain = pod("y", ".Values.c.enabled");
    let explored = explore(&[
        ("values.yaml", "c: {}"),
        ("templates/x.yaml", &hidden),
        ("templates/y.yaml", &plain),
    ]);
    assert_eq!(gates(&explored), ["x: a.enabled=true", "y: c.enabled=true"]);
}

#[test]
fn switches_of_subcharts_and_what_brings_them_are_tried() {
    let _ = helm!();
    let [inner, deep] = [pod("inner", "true"), pod("deep", ".Values.more.enabled")];
    let listed = "apiVersion: v2\nname: app\nversion: 1.0.0\n\
                  dependencies: [{name: sub, version: 1.0.0, condition: sub.enabled}]\n";
    let explored = explore(&[
        ("Chart.yaml", listed),
        ("values.yaml", "sub: {enabled: false}"),
        ("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n"),
        ("charts/sub/values.yaml", "more: {enabled: false}"),
        ("charts/sub/templates/a.yaml", &inner),
        ("charts/sub/templates/b.yaml", &deep),
    ]);
    assert_eq!(
        gates(&explored),
        ["inner: sub.enabled=true", "deep: sub.enabled=true with sub.more.enabled=true"]
    );
}

#[test]
fn what_the_users_values_say_is_where_it_starts() {
    let _ = helm!();
    let extra = pod("x", ".Values.x.enabled");
    let user = folder(&[("on.yaml", "x: {enabled: true}")]);
    let options =
        RenderOptions { values: vec![user.path().join("on.yaml")], ..RenderOptions::default() };
    let files = [("values.yaml", "x: {enabled: false}"), ("templates/x.yaml", extra.as_str())];
    let explored = explore_with(&files, &options, &ExploreOptions::default()).unwrap();
    assert_eq!(explored.images.images.len(), 1);
    assert!(explored.gated.is_empty());
}

#[test]
fn a_switch_that_wants_more_is_told_in_helms_words() {
    let _ = helm!();
    let template =
        "{{ if .Values.tls.enabled }}{{ required \"name a secret\" .Values.tls.secret }}{{ end }}";
    let explored =
        explore(&[("values.yaml", "tls: {enabled: false}"), ("templates/x.yaml", template)]);
    let [(switch, words)] = explored.refused.as_slice() else { panic!("{:?}", explored.refused) };
    assert_eq!(switch.to_string(), "tls.enabled=true");
    assert!(words.contains("name a secret"), "{words}");
}

#[test]
fn what_is_not_tried_is_said() {
    let _ = helm!();
    let values = all_off('a'..='h');
    let limits = ExploreOptions { max_renders: 7, ..ExploreOptions::default() };
    let explored =
        explore_with(&[("values.yaml", &values)], &RenderOptions::default(), &limits).unwrap();
    assert!(explored.renders <= 7, "{} renders", explored.renders);
    assert_eq!(explored.untried.len(), 4);
    assert!(explored.findings("app").iter().all(|finding| finding.code == "switch-untried"));
}

#[test]
fn several_variants_stand_in_their_order() {
    let helm = helm!();
    let image =
        "kind: Pod\napiVersion: v1\nspec: {containers: [{name: a, image: '{{ .Values.i }}'}]}";
    let chart = chart(&[("values.yaml", "i: reg.io/z:1"), ("templates/x.yaml", image)]);
    let variant =
        |set: &str| RenderOptions { sets: vec![set.to_owned()], ..RenderOptions::default() };
    let variants = ["i=reg.io/c:1", "i=reg.io/a:1", "i=reg.io/b:1"].map(variant);
    let ready = helm.prepare(&chart).unwrap();
    let found = ready.variants(&variants, &ExploreOptions::default(), &Ctx::default());
    let found: Vec<_> = found
        .into_iter()
        .map(|images| images.unwrap().images[0].reference.path().to_owned())
        .collect();
    assert_eq!(found, ["c", "a", "b"]);
}

#[test]
fn what_only_helms_yaml_takes_is_read_by_helm() {
    let helm = helm!();
    let template = "kind: Pod\napiVersion: v1\nlist: [\n\tb\n]\n\
                    spec: {containers: [{name: a, image: 'reg.io/x:1'}]}\n";
    let chart = chart(&[("templates/x.yaml", template)]);
    let ready = helm.prepare(&chart).unwrap();
    let rendered = ready.render(&RenderOptions::default(), &Ctx::default()).unwrap();
    assert!(airlift_scan::documents(rendered.documents.as_bytes()).is_err(), "no need for Helm");
    let images = ready.images(&rendered, &Ctx::default()).unwrap().images;
    assert_eq!(images[0].reference.to_string(), "reg.io/x:1");
    assert_eq!(images[0].template.as_deref(), Some("app/templates/x.yaml"));
}
