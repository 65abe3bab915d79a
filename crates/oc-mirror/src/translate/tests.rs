use super::*;

fn translated(mirror: &str) -> Translation {
    let text = format!("kind: ImageSetConfiguration\nmirror:\n{mirror}");
    ImageSet::parse(&text).unwrap().translate("set").unwrap()
}

fn catalog(finder: &Finder) -> &CatalogSource {
    let FinderKind::Catalog(catalog) = &finder.kind else { panic!("{finder:?}") };
    catalog
}

fn chart(finder: &Finder) -> &ChartSource {
    let FinderKind::Chart(chart) = &finder.kind else { panic!("{finder:?}") };
    chart
}

#[test]
fn additional_images_are_images_of_the_stack() {
    let stack = translated(
        "  additionalImages:
  - {name: 'quay.io/a/b:v1', platforms: [{os: linux, architecture: arm64}]}
  - name: ubuntu:22.04
  - name: docker.io/library/ubuntu:22.04
  - name: oci:///mnt/app
",
    )
    .stack;
    let names: Vec<String> = stack.images.iter().map(|it| it.reference.to_string()).collect();
    assert_eq!(
        names,
        ["quay.io/a/b:v1", "docker.io/library/ubuntu:22.04", "localhost/mnt/app:latest"]
    );
    assert_eq!(stack.images[0].platforms(&stack).to_string(), "linux/arm64");
    assert_eq!(stack.images[1].platforms(&stack), &Platforms::All);
    assert_eq!(stack.images[2].from_text().as_deref(), Some("oci:/mnt/app"));
    assert_eq!(stack.images[0].line, 4);
}

#[test]
fn operators_are_catalogs_whose_dependencies_are_said_and_not_followed() {
    let translation = translated(
        "  operators:
  - catalog: a.io/redhat/index:v4.19
    packages:
    - {name: p, defaultChannel: stable, channels: [{name: stable, minVersion: 1.0.0, maxVersion: 2.0.0}]}
    - {name: q, minVersion: 1.1.0}
  - {catalog: 'a.io/redhat/index:v4.19', targetCatalog: own/index, targetTag: v1, full: true}
  - {catalog: 'oci:///mnt/catalog'}
",
    );
    let finders = &translation.stack.finders;
    let first = catalog(&finders[0]);
    assert_eq!(first.place, Place::Image("a.io/redhat/index:v4.19".into()));
    assert_eq!(first.dependencies, Dependencies::Report);
    let package = first.selection.package("p").unwrap();
    assert_eq!(package.default.as_deref(), Some("stable"));
    assert_eq!(package.channels[0].to.as_deref(), Some("2.0.0"));
    assert_eq!(first.selection.package("q").unwrap().from.as_deref(), Some("1.1.0"));
    let second = catalog(&finders[1]);
    assert_eq!(second.reference.to_string(), "a.io/own/index:v1");
    assert!(second.selection.full);
    assert_eq!(second.dependencies, Dependencies::Ignore);
    assert_ne!(finders[0].key(), finders[1].key());
    let third = catalog(&finders[2]);
    assert_eq!(third.place, Place::Image("oci:/mnt/catalog".into()));
    assert_eq!(third.reference.to_string(), "localhost/catalog:latest");
}

#[test]
fn charts_come_with_the_further_places_of_their_images() {
    let translation = translated(
        "  helm:
    repositories:
    - name: r
      url: https://charts.example
      charts: [{name: c, version: 1.0.0, imagePaths: ['{.spec.x}']}]
    - {name: o, url: 'oci://reg.example/charts', charts: [{name: d}]}
    - {name: whole, url: 'https://all.example'}
    local: [{name: l, version: 9.9.9, path: ./l.tgz, platforms: [{os: linux, architecture: amd64}]}]
",
    );
    let finders = &translation.stack.finders;
    let places: Vec<_> = finders.iter().map(|finder| chart(finder).place.clone()).collect();
    assert_eq!(
        places,
        [
            ChartPlace::Repository { name: "c".into(), url: "https://charts.example".into() },
            ChartPlace::Oci("reg.example/charts/d".into()),
            ChartPlace::Path("./l.tgz".into()),
        ]
    );
    assert_eq!(chart(&finders[0]).version.as_deref(), Some("1.0.0"));
    assert_eq!(chart(&finders[0]).switches, Switches::Ignore);
    assert_eq!(chart(&finders[0]).image_paths, ["{.spec.x}"]);
    assert_eq!(translation.whole_repositories[0].url, "https://all.example");
    assert_eq!(finders[2].platforms(&translation.stack).to_string(), "linux/amd64");
}

#[test]
fn a_name_that_no_registry_takes_is_refused_with_its_line() {
    let text = "kind: ImageSetConfiguration\nmirror:\n  additionalImages: [{name: 'oci:///Mnt/A'}]";
    let err = ImageSet::parse(text).unwrap().translate("set").unwrap_err();
    assert!(err.to_string().starts_with("line 3: `localhost/Mnt/A:latest`"), "{err}");
}

#[test]
fn releases_are_one_source_of_all_channels() {
    let release = |platform: &str| {
        let stack = translated(&format!("  platform: {{{platform}}}\n")).stack;
        let finder = stack.finders[0].clone();
        let FinderKind::Release(release) = finder.kind.clone() else { panic!("{finder:?}") };
        (finder.key(), finder.line, release)
    };
    let (key, line, two) = release(
        "graph: true, channels: [{name: stable-4.18, minVersion: 4.18.1}, {name: stable-4.20, type: okd}], architectures: [arm64]",
    );
    assert_eq!((&*key, line), ("openshift: stable-4.18, stable-4.20", 3));
    assert_eq!((two.graph, two.architectures), (true, vec!["arm64".to_owned()]));
    let Releases::Channels(channels) = two.releases else { panic!() };
    assert_eq!(channels[0].from.as_ref().unwrap().to_string(), "4.18.1");
    let (_, _, one) = release("release: 'quay.io/o/r:4.18.1-x86_64', kubeVirtContainer: true");
    assert!(one.kube_virt && matches!(one.releases, Releases::Image(_)));
    assert_eq!(release("graph: true").0, "openshift: graph");
    assert!(translated("  additionalImages: [{name: 'a.io/b:1'}]\n").stack.finders.is_empty());
}
