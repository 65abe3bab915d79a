//! What the name of a field, a variable or a flag says about its value.

/// How far a name vouches that its value is an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Says {
    /// Nothing about images.
    Nothing,
    /// It speaks of an image: `imageGroupOne`, `IMAGE_NAME`. The value may be a part, or a setting.
    Something,
    /// It names an image: `image`, `cacheImage`, `RELATED_IMAGE_X`, `--executor-image`.
    Image,
}

/// Words behind `image` that speak of how it is handled, never of which it is.
const SETTINGS: &[&str] =
    &["pull", "policy", "secret", "secrets", "size", "format", "type", "id", "arch", "user"];

/// Fields whose values are prose, pictures, or what a cluster wrote.
const UNREAD: &[&str] = &[
    "description",
    "displayName",
    "example",
    "examples",
    "icon",
    "message",
    "keywords",
    "labels",
    "links",
    "maintainers",
    "managedFields",
    "matchLabels",
    "ownerReferences",
    "selector",
];

pub(crate) fn is_unread(key: &str) -> bool {
    UNREAD.contains(&key)
}

pub(crate) fn says(name: &str) -> Says {
    let words = words(name);
    let Some(at) =
        words.iter().rposition(|word| word.ends_with("image") || word.ends_with("images"))
    else {
        return Says::Nothing;
    };
    let behind = &words[at + 1..];
    if behind.iter().any(|word| SETTINGS.contains(&word.as_str())) {
        return Says::Nothing;
    }
    let is_counter = |word: &String| word.bytes().all(|byte| byte.is_ascii_digit());
    let is_related = at == 1 && words[0] == "related";
    if is_related || behind.iter().all(is_counter) { Says::Image } else { Says::Something }
}

/// `relatedImageV2` and `RELATED_IMAGE-V2` as lower case words.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        let breaks = !c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && was_lower);
        if breaks && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        was_lower = c.is_ascii_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_image_or_something_or_nothing() {
        let check = |expected: Says, names: &[&str]| {
            for name in names {
                assert_eq!(says(name), expected, "{name}");
            }
        };
        check(
            Says::Image,
            &[
                "image",
                "images",
                "cacheImage",
                "defaultimage",
                "queue-sidecar-image",
                "V2_DRIVER_IMAGE",
                "DRIVER_IMAGE-580",
                "RELATED_IMAGE_ODH_MAAS-API_IMAGE",
                "RELATED_IMAGE_WASMSHIM",
                "--executor-image",
                "sidecar.istio.io/proxyImage",
            ],
        );
        check(
            Says::Something,
            &["imageGroupOne", "IMAGE_NAME", "imageRepository", "images.v1_28_5.istiod"],
        );
        check(
            Says::Nothing,
            &["", "value", "imagePullPolicy", "IMAGE_PULL_SECRETS", "imagination"],
        );
    }
}
