//! Remedies in the words of oc-mirror's flags and configuration, where a library names those of other verbs.

use std::error::Error;
use std::fmt;
use std::io::ErrorKind;

use airlift_bundle::BundleError;
use airlift_bundle::load::LoadError;
use airlift_bundle::receipt::ReceiptError;
use airlift_spec::placement::PlacementError;
use airlift_spec::{Class, Explain, Failure, Layout};

/// The same failure, with a remedy that can be followed here.
pub(super) fn worded(failure: Failure) -> Failure {
    let error: &(dyn Error + 'static) = &*failure;
    let of_bundle = error.downcast_ref().and_then(of_bundle);
    match of_bundle.or_else(|| error.downcast_ref().and_then(of_load)) {
        Some(help) => Box::new(Worded { failure, help }),
        None => failure,
    }
}

fn of_bundle(err: &BundleError) -> Option<String> {
    let help = match err {
        BundleError::NoRoom { .. } => {
            "free room on that disk, or choose another folder, then run it again"
        }
        BundleError::TooManyVolumes { .. } | BundleError::VolumeSize { .. } => {
            "choose a larger `archiveSize:` in the configuration"
        }
        BundleError::Disk { source, .. } if source.kind() == ErrorKind::FileTooLarge => {
            "choose a smaller `archiveSize:` in the configuration"
        }
        BundleError::BlobDamaged { .. } | BundleError::BlobMissing { .. } => {
            "run it again, which brings it anew"
        }
        _ => return None,
    };
    Some(help.to_owned())
}

fn of_load(err: &LoadError) -> Option<String> {
    match err {
        LoadError::State { source: ReceiptError::Layout { recorded, .. }, .. } => {
            Some(match recorded {
                Layout::OcMirror => "leave out `--max-nested-paths`, as the first time".to_owned(),
                Layout::OcMirrorNested(most) => {
                    format!("use `--max-nested-paths {most}`, as the first time")
                }
                Layout::Host | Layout::Flat(_) => {
                    format!("load it with `airlift load --layout {recorded}`, as the first time")
                }
            })
        }
        LoadError::Placement(PlacementError::Collision { .. }) => Some(
            "give one of them another `targetRepo:` or `targetCatalog:`, or mirror them as two sets to paths of their own"
                .to_owned(),
        ),
        _ => None,
    }
}

#[derive(Debug)]
struct Worded {
    failure: Failure,
    help: String,
}

impl fmt::Display for Worded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl Error for Worded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failure.source()
    }
}

impl Explain for Worded {
    fn class(&self) -> Class {
        self.failure.class()
    }

    fn help(&self) -> Option<String> {
        Some(self.help.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(kind: ErrorKind) -> BundleError {
        BundleError::Disk { doing: "failed to write x".to_owned(), source: kind.into() }
    }

    #[test]
    fn no_remedy_names_a_flag_that_is_not_there() {
        let layout = |recorded| {
            let stack = "mirror".to_owned();
            let source = ReceiptError::Layout { stack, recorded, asked: Layout::OcMirrorNested(9) };
            let (registry, stack) = ("a.io".to_owned(), "mirror".to_owned());
            Box::new(LoadError::State { registry, stack, source }) as Failure
        };
        let collision = PlacementError::Collision {
            first: "a.io/x".to_owned(),
            second: "b.io/x".to_owned(),
            repository: "x".to_owned(),
            layout: Layout::OcMirror,
        };
        let failures: [Failure; 8] = [
            Box::new(BundleError::NoRoom { needed: 2, free: 1 }),
            Box::new(BundleError::VolumeSize { size: 1, least: 2 }),
            Box::new(BundleError::TooManyVolumes { most: 1 }),
            Box::new(disk(ErrorKind::FileTooLarge)),
            Box::new(LoadError::Placement(collision)),
            layout(Layout::OcMirror),
            layout(Layout::OcMirrorNested(2)),
            layout(Layout::Host),
        ];
        for failure in failures {
            let (said, causes) = (failure.to_string(), airlift_spec::error::chain(&*failure));
            let (class, before) = (failure.class(), failure.help().unwrap());
            let worded = worded(failure);
            let help = worded.help().unwrap();
            assert_ne!(help, before);
            for flag in ["`--to`", "`--name`", "`--volume-size`", "`--layout"] {
                assert!(!help.contains(flag), "{help}");
            }
            assert_eq!((worded.to_string(), worded.class()), (said, class));
            assert_eq!(airlift_spec::error::chain(&*worded), causes);
        }
    }

    #[test]
    fn what_holds_everywhere_is_said_as_ever() {
        let full = worded(Box::new(disk(ErrorKind::StorageFull)));
        assert!(full.help().unwrap().starts_with("free room on that disk"), "{full}");
        assert!(worded(Box::new(BundleError::NoKey)).help().unwrap().contains("airlift keygen"));
    }
}
