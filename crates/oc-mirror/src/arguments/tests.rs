use super::*;

fn arguments(destination: &str) -> Arguments {
    Arguments {
        config: Some("isc.yaml".to_owned()),
        destination: destination.to_owned(),
        ..Arguments::default()
    }
}

fn with(destination: &str, from: Option<&str>, workspace: Option<&str>) -> Arguments {
    Arguments {
        from: from.map(str::to_owned),
        workspace: workspace.map(str::to_owned),
        ..arguments(destination)
    }
}

#[track_caller]
fn refused(arguments: &Arguments, expected: &str) {
    let message = arguments.way().unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn the_destination_and_two_flags_choose_the_way() {
    let way = |it: Arguments| it.way().unwrap();
    let disk = way(arguments("file:///data"));
    assert_eq!((disk.mode, disk.registry), (Mode::MirrorToDisk, None));
    assert_eq!(disk.workspace.root().to_str(), Some("/data/working-dir"));
    let from = way(with("docker://reg:5000/ns/", Some("file:///data"), None));
    assert_eq!((from.mode, from.registry.as_deref()), (Mode::DiskToMirror, Some("reg:5000/ns")));
    assert_eq!(from.workspace.root().to_str(), Some("/data/working-dir"));
    let beside = way(with("docker://reg", Some("file:///data"), Some("file:///ws")));
    assert_eq!((beside.mode, beside.root.to_str()), (Mode::DiskToMirror, Some("/data")));
    assert_eq!(beside.workspace.root().to_str(), Some("/ws/working-dir"));
    let through = way(with("docker://reg", None, Some("file://./x/working-dir")));
    assert_eq!(through.mode, Mode::MirrorToMirror);
    assert_eq!(through.workspace.root().to_str(), Some("./x/working-dir"));
}

#[test]
fn what_does_not_go_together_is_refused_in_the_words_of_the_peer() {
    let disk = |from, workspace| with("file:///data", from, workspace);
    let registry = |from, workspace| with("docker://reg", from, workspace);
    refused(
        &Arguments { config: None, ..arguments("file:///d") },
        "use the --config flag it is mandatory",
    );
    refused(&disk(Some("file:///x"), None), "and the --from argument is not needed");
    refused(&disk(None, Some("file:///x")), "and the --workspace argument is not needed");
    refused(&registry(Some("/x"), None), "when --from is used, it must have file:// prefix");
    refused(&registry(None, Some("/x")), "when --workspace is used, it must have file:// prefix");
    refused(&registry(None, None), "need to be provided");
    refused(&arguments("/data"), "destination must have either file://");
    refused(
        &arguments("file:///srv/helm/x"),
        "the destination contains an internal oc-mirror keyword 'helm'",
    );
    refused(
        &registry(Some("file:///srv/logs"), None),
        "the path set in --from flag contains an internal oc-mirror keyword 'logs'",
    );
    refused(&with("docker://reg:v1/x:y", Some("file:///x"), None), "is no registry");
    refused(&with("docker://", Some("file:///x"), None), "is no registry");
}

#[test]
fn values_out_of_their_range_are_refused_in_the_words_of_the_peer() {
    let disk = || arguments("file:///data");
    for since in ["2024-13-01", "2024-02-30", "24-1-1", "2024-01-01T00:00"] {
        let since = Some(since.to_owned());
        refused(&Arguments { since, ..disk() }, "--since flag needs to be in format yyyy-MM-dd");
    }
    assert!(Arguments { since: Some("2024-02-29".to_owned()), ..disk() }.way().is_ok());
    refused(&Arguments { parallel_images: 11, ..disk() }, "the flag parallel-images must be");
    refused(&Arguments { parallel_layers: 0, ..disk() }, "the flag parallel-layers must be");
    refused(
        &Arguments { log_level: "loud".to_owned(), ..disk() },
        "log-level has an invalid value loud ,",
    );
    let both = Arguments {
        cache_dir: Some("a".to_owned()),
        cache_variable: Some("b".to_owned()),
        ..disk()
    };
    refused(&both, "either OC_MIRROR_CACHE or --cache-dir can be used but not both");
    let nested = |most| Arguments {
        max_nested_paths: Some(most),
        ..with("docker://reg/a/b", Some("file:///x"), None)
    };
    refused(&nested(2), "the max-nested-paths value (2) must be strictly higher");
    assert!(nested(3).way().is_ok());
}

#[test]
fn a_deletion_has_two_phases() {
    let generate = DeleteArguments {
        destination: Some("docker://reg/ns".to_owned()),
        generate: true,
        config: Some("d.yaml".to_owned()),
        workspace: Some("file:///w".to_owned()),
        ..DeleteArguments::default()
    };
    let Deletion::Generate { workspace, registry, .. } = generate.deletion().unwrap() else {
        panic!("{generate:?}")
    };
    assert_eq!((workspace.root().to_str(), registry.as_str()), (Some("/w/working-dir"), "reg/ns"));
    let delete = DeleteArguments {
        destination: generate.destination.clone(),
        delete_yaml_file: Some("l.yaml".to_owned()),
        ..DeleteArguments::default()
    };
    assert!(matches!(delete.deletion(), Ok(Deletion::Delete { .. })));

    let said = |it: DeleteArguments| it.deletion().unwrap_err().to_string();
    let without = |change: fn(&mut DeleteArguments), whole: &DeleteArguments| {
        let mut changed = whole.clone();
        change(&mut changed);
        said(changed)
    };
    assert!(without(|it| it.workspace = None, &generate).starts_with("use the --workspace flag"));
    let id = |it: &mut DeleteArguments| it.delete_id = Some("../x".into());
    assert!(without(id, &generate).contains("--delete-id"));
    assert!(
        without(|it| it.config = None, &generate).starts_with("the --config flag is mandatory")
    );
    assert!(without(|it| it.workspace = Some("/w".into()), &generate).contains("file:// prefix"));
    assert!(
        without(|it| it.delete_yaml_file = None, &delete).starts_with("the --delete-yaml-file")
    );
    assert!(without(|it| it.delete_v1_images = true, &delete).contains("alongside the --generate"));
    assert!(without(|it| it.destination = None, &delete).contains("is missing in the command"));
    assert!(
        without(|it| it.destination = Some("reg".into()), &delete).contains("docker:// protocol")
    );
}
