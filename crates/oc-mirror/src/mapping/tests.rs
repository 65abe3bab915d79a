use super::*;

const HEX: &str = "3a4f6de4ad8ca2232020e8475558d9e8327f415e121720ce03571d94f372a13f";

fn routes(mode: Mode) -> Routes {
    Routes {
        mode,
        cache: "localhost:55000".to_owned(),
        registry: "reg:5000/ns".to_owned(),
        max_nested_paths: None,
    }
}

fn name(text: &str) -> ImageName {
    ImageName::parse(text).unwrap()
}

fn lines(mode: Mode, items: &[Item]) -> String {
    mapping(&routes(mode).copies(items))
}

fn catalog(image: &str, filtered: Option<Filtered>) -> CatalogItem {
    CatalogItem { image: name(image), target_catalog: None, target_tag: None, filtered }
}

fn made(digest: Option<Digest>) -> Filtered {
    Filtered { tag: "md5".to_owned(), digest }
}

#[test]
fn an_image_takes_its_path_and_its_tag_along() {
    let items = [
        Item::Related(name(&format!("a.io/x/y@sha256:{HEX}"))),
        Item::Related(name(&format!("a.io/x/z:v1@sha256:{HEX}"))),
        Item::Additional { image: name("ubuntu:22.04"), target_repo: None, target_tag: None },
    ];
    assert_eq!(
        lines(Mode::MirrorToMirror, &items),
        format!(
            "docker://a.io/x/y@sha256:{HEX}=docker://reg:5000/ns/x/y:sha256-{HEX}\n\
             docker://a.io/x/z@sha256:{HEX}=docker://reg:5000/ns/x/z:v1\n\
             docker://ubuntu:22.04=docker://reg:5000/ns/ubuntu:22.04\n"
        )
    );
    assert_eq!(
        lines(Mode::DiskToMirror, &items[..1]),
        format!(
            "docker://localhost:55000/x/y:sha256-{HEX}=docker://reg:5000/ns/x/y:sha256-{HEX}\n"
        )
    );
}

#[test]
fn additional_images_may_be_sent_elsewhere() {
    let image = |text: &str, repo: Option<&str>, tag: Option<&str>| Item::Additional {
        image: name(text),
        target_repo: repo.map(str::to_owned),
        target_tag: tag.map(str::to_owned),
    };
    let items = [
        image(&format!("a.io/x@sha256:{HEX}"), Some("own/place"), None),
        image(&format!("a.io/y@sha256:{HEX}"), None, Some("v9")),
        image("oci:///mnt/app", None, None),
    ];
    assert_eq!(
        lines(Mode::MirrorToDisk, &items),
        format!(
            "docker://a.io/x@sha256:{HEX}=docker://localhost:55000/own/place:sha256-{HEX}\n\
             docker://a.io/y@sha256:{HEX}=docker://localhost:55000/y:v9\n\
             oci:///mnt/app=docker://localhost:55000/mnt/app:latest\n"
        )
    );
}

#[test]
fn releases_have_repositories_of_their_own() {
    let content = |name_: &str| Item::ReleaseContent {
        image: name(&format!("quay.io/o/art@sha256:{HEX}")),
        release: "4.18.1-x86_64".to_owned(),
        name: name_.to_owned(),
    };
    let items = [
        Item::Release(name("quay.io/o/release:4.18.1-x86_64")),
        Item::Release(name(&format!("quay.io/o/release@sha256:{HEX}"))),
        content("kube-virt-container"),
        content("cli"),
        content("cli"),
        Item::Graph,
    ];
    assert_eq!(
        lines(Mode::MirrorToMirror, &items),
        format!(
            "docker://quay.io/o/art@sha256:{HEX}=docker://reg:5000/ns/openshift/release:4.18.1-x86_64-cli\n\
             docker://quay.io/o/art@sha256:{HEX}=docker://reg:5000/ns/openshift/release:4.18.1-x86_64-kube-virt-container\n\
             docker://quay.io/o/release:4.18.1-x86_64=docker://reg:5000/ns/openshift/release-images:4.18.1-x86_64\n\
             docker://quay.io/o/release@sha256:{HEX}=docker://reg:5000/ns/openshift/release-images:{HEX}\n\
             docker://reg:5000/ns/openshift/graph-image:latest=docker://reg:5000/ns/openshift/graph-image:latest\n"
        )
    );
}

#[test]
fn a_catalog_goes_whole_into_the_cache_and_filtered_to_the_registry() {
    let tagged = Item::Catalog(catalog("a.io/redhat/index:v4.19", Some(made(None))));
    assert_eq!(
        lines(Mode::MirrorToMirror, std::slice::from_ref(&tagged)),
        "docker://a.io/redhat/index:v4.19=docker://localhost:55000/redhat/index:v4.19\n\
         docker://localhost:55000/redhat/index:md5=docker://reg:5000/ns/redhat/index:v4.19\n"
    );
    assert_eq!(
        lines(Mode::MirrorToDisk, std::slice::from_ref(&tagged)),
        "docker://a.io/redhat/index:v4.19=docker://localhost:55000/redhat/index:v4.19\n"
    );
    assert_eq!(lines(Mode::Delete, &[tagged]), "");
    let whole = Item::Catalog(catalog("a.io/redhat/index:v4.19", None));
    assert_eq!(
        lines(Mode::MirrorToMirror, &[whole]),
        "docker://a.io/redhat/index:v4.19=docker://localhost:55000/redhat/index:v4.19\n\
         docker://a.io/redhat/index:v4.19=docker://reg:5000/ns/redhat/index:v4.19\n"
    );
}

#[test]
fn a_catalog_pinned_by_digest_is_named_by_the_filtered_one() {
    let digest: Digest = format!("sha256:{}", "b".repeat(64)).parse().unwrap();
    let pinned = format!("a.io/index@sha256:{HEX}");
    let far = |item: CatalogItem| {
        let copies = routes(Mode::DiskToMirror).copies(&[Item::Catalog(item)]);
        copies[0].destination.rsplit_once(':').unwrap().1.to_owned()
    };
    assert_eq!(
        far(catalog(&pinned, Some(made(Some(digest))))),
        format!("sha256-{}", "b".repeat(64))
    );
    assert_eq!(far(catalog(&pinned, Some(made(None)))), "sha256-md5");
    assert_eq!(far(catalog(&pinned, None)), format!("sha256-{HEX}"));
    let tagged = CatalogItem {
        target_tag: Some("v9".to_owned()),
        ..catalog(&pinned, Some(made(Some(digest))))
    };
    assert_eq!(far(tagged), "v9");
}

#[test]
fn a_catalog_on_a_disk_is_called_like_its_folder() {
    let layout = catalog("oci:///mnt/catalogs/mine", None);
    let destination = |item| routes(Mode::DiskToMirror).copies(&[Item::Catalog(item)])[0].clone();
    assert_eq!(destination(layout.clone()).destination, "docker://reg:5000/ns/mine:latest");
    let target = CatalogItem { target_catalog: Some("own/name".to_owned()), ..layout };
    assert_eq!(destination(target).destination, "docker://reg:5000/ns/own/name:latest");
}

#[test]
fn paths_deeper_than_the_registry_takes_are_joined_at_their_end() {
    let shallow = Routes { max_nested_paths: Some(2), ..routes(Mode::MirrorToMirror) };
    let copies = shallow.copies(&[Item::Related(name("a.io/b/c/d:v1"))]);
    assert_eq!(copies[0].destination, "docker://reg:5000/ns/b-c-d:v1");
    let copies = shallow.copies(&[Item::Related(name("a.io/b:v1"))]);
    assert_eq!(copies[0].destination, "docker://reg:5000/ns/b:v1");
}

#[test]
fn each_platform_has_a_line_without_the_tag() {
    let child = format!("sha256:{HEX}").parse().unwrap();
    let copies = routes(Mode::MirrorToMirror).copies(&[Item::Helm(name("a.io/b:v1"))]);
    assert_eq!(
        mapping_of_children(&copies[0], &[child]),
        format!("docker://a.io/b:v1@sha256:{HEX}=docker://reg:5000/ns/b@sha256:{HEX}\n")
    );
}
