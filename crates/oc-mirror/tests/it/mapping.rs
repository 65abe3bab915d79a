//! A real dry run, line by line.

use std::collections::BTreeSet;

use airlift_oc_mirror::{
    AdditionalImage, Filtered, ImageName, ImageSet, Item, Mode, Routes, filter_tag, mapping,
};

use crate::data::{data, text};

#[test]
fn a_real_dry_run_has_the_lines_that_we_write() {
    let Some(folder) = data("olm/image-lists/ocmirror-dry-run") else { return };
    let theirs = text(&folder.join("mapping.txt"));
    let set = ImageSet::parse(&text(&folder.join("isc-rhoai.yaml"))).unwrap();
    assert!(set.warnings.is_empty(), "{:?}", set.warnings);

    let mut items: Vec<Item> = set.additional_images.iter().map(AdditionalImage::item).collect();
    items.extend(set.operators.iter().map(|operator| {
        operator.item(Some(Filtered { tag: filter_tag(operator, None), digest: None }))
    }));
    let additional: BTreeSet<&str> = set.additional_images.iter().map(|it| &*it.written).collect();
    // What the catalog brings is in no configuration; its sources are taken from the run.
    let sources = theirs.lines().map(|line| line.split_once('=').unwrap().0);
    let brought = sources.filter(|source| {
        let name = source.trim_start_matches("docker://");
        name.contains('@') && !additional.contains(name)
    });
    items.extend(brought.map(|source| Item::Related(ImageName::parse(source).unwrap())));

    let routes = Routes {
        mode: Mode::MirrorToMirror,
        cache: "localhost:55000".to_owned(),
        registry: "registry:5000".to_owned(),
        max_nested_paths: None,
    };
    let copies = routes.copies(&items);
    let ours = mapping(&copies);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(lines(&ours), lines(&theirs));
    assert_eq!((copies.len(), set.additional_images.len()), (178, 42));
    println!("{} of 178 lines agree, 42 of them from additionalImages", copies.len());
}

#[test]
fn a_configuration_of_releases_is_read() {
    let Some(folder) = data("olm/image-lists/ocmirror-dry-run") else { return };
    let set = ImageSet::parse(&text(&folder.join("isc-ocp-4.19.yaml"))).unwrap();
    let channel = &set.platform.channels[0];
    assert_eq!((channel.name.as_str(), channel.line), ("stable-4.19", 7));
    assert_eq!(
        (&channel.min, set.platform.architectures.as_slice()),
        (&channel.max, &["amd64".to_owned()][..])
    );
}
