use std::time::Duration;

use airlift_helm::process::Limits;
use airlift_helm::{ChartError, RenderError, RenderOptions};
use airlift_spec::{Class, Ctx, Explain as _};

use crate::world::{chart, find, folder, helm};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: '{{ .Release.Name }}', namespace: '{{ .Release.Namespace }}'}
spec: {containers: [{name: a, image: '{{ .Values.image }}:{{ .Chart.AppVersion }}'}]}
";

fn rendered(files: &[(&str, &str)], options: &RenderOptions) -> Result<String, RenderError> {
    let program = airlift_testkit::tools::tool("helm").unwrap();
    let helm = find(&program)?;
    let chart = chart(files);
    Ok(helm.prepare(&chart)?.render(options, &Ctx::default())?.documents)
}

#[test]
fn a_chart_is_rendered_with_its_values_files_and_sets() {
    let _ = helm!();
    let values = folder(&[("a.yaml", "image: reg/a"), ("b.yaml", "image: reg/b")]);
    let options = RenderOptions {
        release: "rel".to_owned(),
        namespace: "ns".to_owned(),
        values: ["a.yaml", "b.yaml"].map(|name| values.path().join(name)).into(),
        ..RenderOptions::default()
    };
    let files = [("templates/pod.yaml", POD), ("values.yaml", "image: reg/0")];
    let text = rendered(&files, &options).unwrap();
    assert!(text.contains("image: 'reg/b:4.5'") && text.contains("namespace: 'ns'"), "{text}");
    let options = RenderOptions { sets: vec!["image=reg/c".to_owned()], ..options };
    assert!(rendered(&files, &options).unwrap().contains("reg/c:4.5"));
}

#[test]
fn hooks_tests_and_crds_are_rendered_and_named() {
    let helm = helm!();
    let hook = POD.replace("metadata: {", "metadata: {annotations: {helm.sh/hook: test}, ");
    let chart = chart(&[
        ("values.yaml", "image: reg/a"),
        ("templates/tests/t.yaml", hook.as_str()),
        ("crds/c.yaml", "kind: CustomResourceDefinition\nmetadata: {name: c}\n"),
    ]);
    let ready = helm.prepare(&chart).unwrap();
    let rendered = ready.render(&RenderOptions::default(), &Ctx::default()).unwrap();
    assert!(rendered.documents.contains("CustomResourceDefinition"));
    let images = ready.images(&rendered, &Ctx::default()).unwrap().images;
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].hook.as_deref(), Some("test"));
    assert_eq!(images[0].template.as_deref(), Some("app/templates/tests/t.yaml"));
    assert_eq!(images[0].reference.to_string(), "reg/a:4.5".replace("reg/", "docker.io/reg/"));
}

#[test]
fn images_are_also_where_somebody_says_that_they_are() {
    let helm = helm!();
    let own = "kind: Engine\nmetadata: {name: e}\nspec: {runtimes: [{from: 'reg.io/r:1'}, {from: 'not one'}]}\n";
    let chart = chart(&[
        ("templates/pod.yaml", POD),
        ("templates/e.yaml", own),
        ("values.yaml", "image: reg.io/a"),
    ]);
    let paths = ["{.spec.runtimes[*].from}", "{.spec.containers[*].image}"];
    let ready = helm.prepare(&chart).unwrap();
    let plain = ready.render(&RenderOptions::default(), &Ctx::default()).unwrap();
    let found = |ready: &airlift_helm::Renderer| {
        let images = ready.images(&plain, &Ctx::default()).unwrap().images;
        let mut names: Vec<_> = images.into_iter().map(|image| image.written).collect();
        names.sort();
        names
    };
    assert_eq!(found(&ready), ["reg.io/a:4.5"]);
    let looking = ready.looking_at(paths.map(|path| path.parse().unwrap()).into());
    assert_eq!(found(&looking), ["reg.io/a:4.5", "reg.io/r:1"]);
}

#[test]
fn charts_see_the_version_and_the_apis_that_they_are_told() {
    let _ = helm!();
    let template = "a: {{ .Capabilities.KubeVersion.Version }}\nb: {{ .Capabilities.APIVersions.Has \"x/v1\" }}\n";
    let options = RenderOptions {
        kube_version: Some("1.23.4".to_owned()),
        api_versions: vec!["x/v1".to_owned()],
        ..RenderOptions::default()
    };
    let text = rendered(&[("templates/x.yaml", template)], &options).unwrap();
    assert!(text.contains("a: v1.23.4\nb: true"), "{text}");
}

#[test]
fn what_helm_refuses_is_said_with_the_file_and_a_remedy() {
    let _ = helm!();
    let template = "{{ required \"say who\" .Values.who }}";
    let err = rendered(&[("templates/x.yaml", template)], &RenderOptions::default()).unwrap_err();
    let text = err.to_string();
    assert!(text.contains("app/templates/x.yaml:1") && text.contains("say who"), "{text}");
    assert!(!text.contains("chart.tgz") && !text.contains("--debug"), "{text}");
    assert_eq!(err.help().as_deref(), Some("give the values that the chart asks for"));

    let listed = "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies: [{name: gone, version: 1.x, repository: 'https://h'}]";
    let err = rendered(&[("Chart.yaml", listed)], &RenderOptions::default()).unwrap_err();
    assert!(err.help().unwrap().contains("dependency build"), "{err}");

    let listed = "apiVersion: v2\nname: app\nversion: 1.0.0\nkubeVersion: '<1.0.0'";
    let err = rendered(&[("Chart.yaml", listed)], &RenderOptions::default()).unwrap_err();
    assert!(err.help().unwrap().contains("version of Kubernetes"), "{err}");

    let gone =
        RenderOptions { values: vec!["https://h/values.yaml".into()], ..RenderOptions::default() };
    let err = rendered(&[], &gone).unwrap_err();
    assert!(
        matches!(err, RenderError::Chart(ChartError::Values { .. })),
        "a values file was fetched: {err}"
    );
}

#[test]
fn a_render_has_an_end() {
    let _ = helm!();
    let template = "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}";
    let limits = Limits::within(Duration::ZERO);
    let options = RenderOptions { limits, ..RenderOptions::default() };
    let err = rendered(&[("templates/x.yaml", template)], &options).unwrap_err();
    assert!(matches!(err, RenderError::Exceeded { .. }), "{err}");
    assert!(err.to_string().contains("longer than 0 seconds"), "{err}");
}

#[test]
fn a_render_that_takes_too_much_memory_is_stopped_and_says_so() {
    let _ = helm!();
    let template = "{{ range until 200000000 }}{{ end }}";
    let limits = Limits { memory_bytes: 256 << 20, ..RenderOptions::default().limits };
    let options = RenderOptions { limits, ..RenderOptions::default() };
    let err = rendered(&[("templates/x.yaml", template)], &options).unwrap_err();
    assert!(err.to_string().contains("more than 256 MiB of memory"), "{err}");
    assert_eq!(err.class(), Class::Input);
    assert!(rendered(&[("templates/x.yaml", "a: 1")], &options).is_ok());
}

#[test]
fn what_is_not_helm_is_not_run() {
    let folder = folder(&[("helm", "no program")]);
    let err = find(&folder.path().join("helm")).unwrap_err();
    assert!(matches!(err, RenderError::Run { .. }), "{err}");
    let err = find(&folder.path().join("absent")).unwrap_err();
    assert!(err.to_string().contains("absent") && err.help().is_some(), "{err}");
    let err = find(std::path::Path::new("/bin/true")).unwrap_err();
    assert!(matches!(err, RenderError::NotHelm { .. }), "{err}");
}
