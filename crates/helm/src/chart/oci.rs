//! The form in which registries hold charts, and Helm pulls them as `oci://`.

use std::collections::BTreeMap;
use std::sync::Arc;

use airlift_spec::Descriptor;
use airlift_spec::oci::image_manifest;
use serde_json::Value;

use super::Chart;
use crate::yaml;

pub mod media_type {
    pub const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
    pub const PACKAGE: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    pub const PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";
}

/// A chart as a registry holds it. The manifest names the others by their digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciChart {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    /// The package, byte for byte.
    pub package: Arc<[u8]>,
    /// Its signature, where there is one.
    pub provenance: Option<Vec<u8>>,
}

impl Chart {
    /// The chart in its OCI form: the same chart gives the same bytes.
    pub fn oci(&self, provenance: Option<Vec<u8>>) -> OciChart {
        let package = self.package();
        let config = self.config();
        let mut layers = vec![Descriptor::of(media_type::PACKAGE, &package)];
        let signed = provenance.iter().map(|bytes| Descriptor::of(media_type::PROVENANCE, bytes));
        layers.extend(signed);
        let own = Descriptor::of(media_type::CONFIG, &config);
        let manifest = image_manifest(own, layers, self.oci_annotations());
        OciChart { manifest, config, package, provenance }
    }

    /// The tag by which Helm asks for it: tags have no `+`.
    pub fn tag(&self) -> String {
        self.metadata.version.replace('+', "_")
    }

    /// `Chart.yaml` as JSON. Helm reads these fields as texts, whatever they look like.
    fn config(&self) -> Vec<u8> {
        let mut all = self.metadata.all.clone();
        for name in ["version", "appVersion", "kubeVersion", "apiVersion", "name"] {
            if let Some(text) = all.get(name).and_then(yaml::text) {
                all.insert(name.to_owned(), Value::String(text));
            }
        }
        serde_json::to_vec(&all).expect("JSON can be written as JSON")
    }

    fn oci_annotations(&self) -> BTreeMap<String, String> {
        let metadata = &self.metadata;
        let described = metadata.all.get("description").and_then(yaml::text);
        let own = [
            ("title", Some(metadata.name.clone())),
            ("version", Some(metadata.version.clone())),
            ("description", described),
        ];
        let named = own
            .into_iter()
            .filter_map(|(key, text)| Some((format!("org.opencontainers.image.{key}"), text?)));
        named.collect()
    }
}
