//! Stories of images: made of a server, uploaded, and removed, but none of anybody else.

use super::world::World;

const INVENTORY: &str = r#"
[cluster]
name = "hive"
provider = "openstack"
[openstack]
cloud = "demo"
image = "tiny"
flavor = "m1.tiny"
networks = ["hive-net"]
public-key = "id.pub"
ssh-from = ["198.51.100.0/24"]
login-timeout = 3
[ssh]
config = ""
user = "debian"
connect-timeout = 2
[swarm]
default-addr-pool = ["10.200.0.0/16"]
[[host]]
name = "m1"
role = "manager"
[[host]]
name = "base"
role = "none"
"#;

/// An image of a server is made where that is surely no node; a file becomes one; both go again.
pub(crate) fn made_and_removed(world: &World) {
    world.write("images.toml", INVENTORY);
    let skep = |arguments: &[&str]| world.skep("images.toml", arguments);
    skep(&["up", "--yes"]).ends(1);
    skep(&["image", "list"]).ends(0).says("has no images");
    // Nobody answers in a fake server, so it may be a node.
    let ran = skep(&["image", "create", "m1", "--yes"]).ends(4);
    ran.says("does not tell whether it is in a swarm");
    let create = ["image", "create", "base", "--name", "prepared", "--yes"];
    let ran = skep(&create).ends(0).says("made the image `prepared`");
    ran.says("what it writes at the moment may be half in the image");
    skep(&create)
        .ends(4)
        .says("has an image `prepared` already");

    std::fs::write(world.path("disk"), vec![7; 3_000_000]).unwrap();
    let path = world.path("disk").display().to_string();
    let upload = ["image", "upload", &path, "--name", "brought"];
    skep(&upload).ends(2).says("does not tell its format");
    let raw = [&upload[..], &["--format", "raw"]].concat();
    let ran = skep(&raw).ends(0);
    ran.says("uploaded `brought`");
    let listed = skep(&["image", "list", "--json"]).ends(0);
    for name in ["brought", "prepared"] {
        assert!(listed.out.contains(name), "{listed:?}");
    }
    assert!(!listed.out.contains("tiny"), "{listed:?}");
    assert_eq!(listed.out.matches("\"active\"").count(), 2, "{listed:?}");

    let delete = |name: &str| skep(&["image", "delete", name, "--yes"]);
    delete("tiny").ends(4).says("is no image of `hive`");
    let named = INVENTORY.replace("\"tiny\"", "\"prepared\"");
    world.write("images.toml", &named);
    delete("prepared")
        .ends(4)
        .says("the inventory makes `m1` of `prepared`");
    world.write("images.toml", INVENTORY);
    let ran = skep(&["destroy", "--confirm", "hive"]).ends(0);
    ran.says("kept: image `prepared`");
    for name in ["prepared", "brought"] {
        delete(name).ends(0).says("deleted the image");
    }
    skep(&["image", "list"]).ends(0).says("has no images");
}
