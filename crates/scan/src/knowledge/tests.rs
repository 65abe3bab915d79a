use super::*;

fn about(text: &str, version: &str) -> Advice {
    let knowledge = Knowledge::parse("a.yaml", text).unwrap();
    knowledge.about(&Product::Olm("a".to_owned()), &version.parse().unwrap())
}

#[track_caller]
fn refused(text: &str) -> String {
    Knowledge::parse("a.yaml", text).unwrap_err().to_string()
}

const PACK: &str = "\
format: 1
product: {olm: a}
source: the page
why: it says so
covers: [1.0.0, 1.1.0]
entries:
- versions: [1.0.0, '>=1.1.0 <1.2.0']
  images: {quay.io/a/b: ['1'], quay.io/c/d: ['2', v3]}
- versions: ['>=1.1.0']
  why: the code does
  dependencies: [{package: p, catalog: c, for: f}]
  envAliases: [{reads: A, sets: B, fallback: 'quay.io/e/f:4'}]
  unknown: [quay.io/g/h]
";

#[test]
fn what_is_known_holds_for_its_versions_alone_and_names_its_source() {
    let first = about(PACK, "1.0.0");
    let images: Vec<String> =
        first.images.iter().map(|known| known.reference.to_string()).collect();
    assert_eq!(images, ["quay.io/a/b:1", "quay.io/c/d:2", "quay.io/c/d:v3"]);
    assert_eq!((first.dependencies.len(), first.gaps.len()), (0, 0));
    let because = first.images[0].because("a:1");
    assert_eq!(because.from, "a:1");
    assert_eq!(because.path, "knowledge: a.yaml: the page");
    assert_eq!(because.evidence, lock::Evidence::Known);

    let second = about(PACK, "1.1.0");
    assert_eq!(second.images.last().unwrap().reference.to_string(), "quay.io/e/f:4");
    assert_eq!(second.dependencies[0].package, "p");
    assert_eq!(second.dependencies[0].origin.why, "the code does");
    assert_eq!(second.env_aliases[0].sets.as_deref(), Some("B"));
    assert_eq!(second.gaps[0].finding().code, "knowledge-gap");
}

#[test]
fn a_release_that_is_not_covered_is_a_gap_and_never_a_guess() {
    let advice = about(PACK, "1.0.5");
    assert_eq!(advice.images, []);
    let message = "which images it needs beyond those it lists is not known; the last known before it is 1.0.0";
    assert_eq!(advice.gaps[0].message, message);
    let other =
        Knowledge::parse("b.yaml", "format: 1\nproduct: {olm: a}\ncovers: [1.0.5]\nentries: []\n")
            .unwrap();
    let both = Knowledge::parse("a.yaml", PACK).unwrap().and(other);
    assert_eq!(
        both.about(&Product::Olm("a".to_owned()), &"1.0.5".parse().unwrap()),
        Advice::default()
    );
    assert_eq!(
        both.about(&Product::Chart("a".to_owned()), &"1.0.0".parse().unwrap()),
        Advice::default()
    );
}

#[test]
fn a_pack_that_is_wrong_is_refused_with_its_name_and_reason() {
    let pack = |entry: &str| format!("format: 1\nproduct: {{olm: a}}\nentries: [{entry}]\n");
    assert!(refused("format: 2\nnew: true\n").contains("a.yaml has format 2"));
    assert!(refused("format: 1\nproduct: {olm: a}\nentries: []\nextra: 1\n").contains("extra"));
    assert!(
        refused("format: 1\nproduct: {rpm: a}\nentries: []\n")
            .contains("`rpm` is no kind of product")
    );
    assert!(
        refused("format: 1\nproduct: {olm: a, chart: b}\nentries: []\n")
            .contains("line 2: `product` has one field")
    );
    assert!(
        refused("format: 1\nproduct: {olm: a}\ncovers:\n- '1'\n- x\nentries: []\n")
            .contains("line 5: `x` is no version")
    );
    assert!(
        refused(&pack("{versions: ['1.0'], why: w, unknown: [quay.io/a]}"))
            .contains("line 3: the entry has no `source`")
    );
    for nothing in [
        "{versions: ['1']}",
        "{versions: ['1'], images: {quay.io/a: []}}",
        "{versions: [], unknown: [quay.io/a]}",
    ] {
        let said = refused(&pack(nothing));
        assert!(said.contains("line 3: the entry needs `versions`, and something"), "{said}");
    }
    assert!(
        refused(&pack("{versions: [x], why: w, source: s, unknown: [quay.io/a]}"))
            .contains("line 3: `x` bounds no versions")
    );
    assert!(
        refused(&pack("{versions: ['1'], why: w, source: s, images: {a: ['1']}}"))
            .contains("line 3: `a:1` is not written in full")
    );
    assert!(
        refused(&pack("{versions: ['1'], why: w, source: s, images: {quay.io/a: ['sha256:1']}}"))
            .contains("sha256:1")
    );
}

#[test]
fn every_pack_of_the_repository_is_in_the_binary_and_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../knowledge");
    let read = Knowledge::read(&folder, "knowledge").unwrap();
    let embedded = Knowledge::embedded();
    let products = |knowledge: &Knowledge| -> Vec<Product> {
        knowledge.packs.iter().map(|pack| pack.product.clone()).collect()
    };
    assert_eq!(products(&read), products(embedded));
}

#[test]
fn a_pack_of_ones_own_says_why_before_ours_and_fills_our_gaps() {
    let own = "format: 1\nproduct: {olm: a}\nsource: our lab\nwhy: we saw it\ncovers: [1.2.0]\nentries:\n- versions: [1.1.0, 1.2.0]\n  images: {quay.io/a/b: ['1'], quay.io/g/h: ['5']}\n";
    let own = Knowledge::parse("./own.yaml", own).unwrap();
    let both = own.and(Knowledge::parse("a.yaml", PACK).unwrap());
    let about =
        |version: &str| both.about(&Product::Olm("a".to_owned()), &version.parse().unwrap());
    let advice = about("1.1.0");
    let whose = |image: &str| {
        let mut known = advice.images.iter().filter(|it| it.reference.to_string() == image);
        let pack = known.next().unwrap().origin.pack.as_str();
        assert_eq!(known.next(), None, "{image} is known once");
        pack
    };
    assert_eq!(whose("quay.io/a/b:1"), "./own.yaml");
    assert_eq!(whose("quay.io/c/d:2"), "a.yaml", "nothing of ours is lost");
    assert_eq!(advice.dependencies.len(), 1);
    assert_eq!(advice.gaps, [], "which image of quay.io/g/h is needed is known now");
    assert_eq!(about("1.2.0").gaps, [], "the release is covered");
}

#[test]
fn packs_are_read_from_a_file_or_a_folder_and_named_by_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| Knowledge::read(&folder.path().join(name), &format!("./{name}"));
    fs_err::create_dir(folder.path().join("packs")).unwrap();
    let message = read("packs/").unwrap_err().to_string();
    assert!(message.contains("holds no knowledge pack"), "{message}");
    for name in ["one.yaml", "two.yml", "notes.txt"] {
        fs_err::write(folder.path().join("packs").join(name), PACK).unwrap();
    }
    let names = |knowledge: Knowledge| -> BTreeSet<String> {
        let whose = |pack: &Pack| {
            let mut advice = Advice::default();
            pack.advise(&"1.0.0".parse().unwrap(), &mut advice);
            advice.images[0].origin.pack.clone()
        };
        knowledge.packs.iter().map(whose).collect()
    };
    let both = ["./packs/one.yaml", "./packs/two.yml"].map(str::to_owned);
    assert_eq!(names(read("packs/").unwrap()), BTreeSet::from(both));
    assert_eq!(names(read("packs/two.yml").unwrap()).len(), 1);
    fs_err::write(folder.path().join("packs/one.yaml"), " ".repeat(1 + (16 << 20))).unwrap();
    assert!(matches!(read("packs"), Err(KnowledgeError::TooLarge { .. })));
    assert!(matches!(
        Knowledge::read(Path::new("/dev/zero"), "zero"),
        Err(KnowledgeError::Special { .. })
    ));
}

#[test]
fn a_folder_that_is_not_there_is_said_by_name() {
    let message = Knowledge::read(Path::new("no/such/folder"), "x").unwrap_err().to_string();
    assert_eq!(message, "there is no knowledge pack `x`");
}

#[test]
fn what_holds_beside_a_product_is_known_for_its_versions_alone() {
    let pack = "format: 1
product: {olm: a}
source: s
why: w
entries:
- versions: ['1.0.0']
  companions: [{package: mesh, versions: ['>=2.0.0 <3.0.0-0']}, {package: traces, first: true}]
  lateKinds: [{group: ai.example, kind: Board, after: Cluster}]
";
    let known = |version: &str| about(pack, version);
    let advice = known("1.0.0");
    let [mesh, traces] = advice.companions.as_slice() else { panic!("{advice:?}") };
    assert!(mesh.versions[0].contains(&"2.1.0".parse().unwrap()) && !mesh.first);
    assert!(!mesh.versions[0].contains(&"3.0.0".parse().unwrap()));
    assert!(traces.first && traces.versions.is_empty());
    assert_eq!(advice.late_kinds[0].after, "Cluster");
    let other = known("1.1.0");
    assert!(other.companions.is_empty() && other.late_kinds.is_empty());
}
