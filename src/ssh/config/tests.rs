use super::*;

fn around() -> Surroundings {
    Surroundings {
        home: Some(PathBuf::from("/home/ann")),
        user: Some("ann".to_owned()),
        agent: Some(PathBuf::from("/run/agent")),
    }
}

const PRINTED: &str = "\
host m1
user admin
hostname 10.0.0.11
port 2222
addressfamily any
identitiesonly yes
stricthostkeychecking accept-new
identityfile ~/.ssh/special
identityfile /etc/keys/two
certificatefile ~/.ssh/special-cert.pub
userknownhostsfile ~/.ssh/known_hosts \"/etc/my hosts\"
globalknownhostsfile /etc/ssh/ssh_known_hosts
proxyjump bastion,ops@[fd00::1]:2200
identityagent none
hostkeyalias m1.lan
connecttimeout 7
";

#[test]
fn all_that_ssh_says_is_read() {
    let config = HostConfig::parse(PRINTED, &around());
    let host = resolve(&Target::new("m1", "m1"), config, &around()).unwrap();
    assert_eq!(
        host,
        Resolved {
            name: "m1".to_owned(),
            address: "10.0.0.11".to_owned(),
            port: 2222,
            user: "admin".to_owned(),
            identity: vec!["/home/ann/.ssh/special".into(), "/etc/keys/two".into()],
            certificates: vec!["/home/ann/.ssh/special-cert.pub".into()],
            identities_only: true,
            agent: None,
            jump: vec!["bastion".to_owned(), "ops@[fd00::1]:2200".to_owned()],
            known_hosts: vec![
                "/home/ann/.ssh/known_hosts".into(),
                "/etc/my hosts".into(),
                "/etc/ssh/ssh_known_hosts".into()
            ],
            host_key_alias: Some("m1.lan".to_owned()),
            host_key_check: HostKeyCheck::AcceptNew,
            config: None,
            connect_timeout: Duration::from_secs(7),
        }
    );
    assert_eq!(host.host_key_name(), "m1.lan");
}

#[test]
fn the_inventory_comes_before_the_config() {
    let target = Target {
        user: Some("root".to_owned()),
        port: Some(22),
        identity: vec!["~/mine".into()],
        jump: Some(Vec::new()),
        known_hosts: Some("~/hosts".into()),
        host_key_check: Some(HostKeyCheck::Strict),
        host_key_alias: Some("alias".to_owned()),
        connect_timeout: Some(Duration::from_secs(3)),
        ..Target::new("m1", "m1")
    };
    let config = HostConfig::parse(PRINTED, &around());
    let host = resolve(&target, config, &around()).unwrap();
    assert_eq!((host.user.as_str(), host.port), ("root", 22));
    assert_eq!(host.identity, [PathBuf::from("/home/ann/mine")]);
    assert_eq!(host.known_hosts, [PathBuf::from("/home/ann/hosts")]);
    assert!(host.jump.is_empty());
    assert_eq!(host.host_key_check, HostKeyCheck::Strict);
    assert_eq!(host.host_key_alias.as_deref(), Some("alias"));
    assert_eq!(host.connect_timeout, Duration::from_secs(3));
}

#[test]
fn without_ssh_the_defaults_hold() {
    let host = resolve(&Target::new("m1", "m1"), HostConfig::default(), &around()).unwrap();
    assert_eq!((host.user.as_str(), host.port), ("ann", 22));
    assert_eq!(host.endpoint(), "m1:22");
    assert_eq!(host.agent, Some("/run/agent".into()));
    assert_eq!(host.identity[0], PathBuf::from("/home/ann/.ssh/id_ed25519"));
    assert_eq!(
        host.known_hosts[0],
        PathBuf::from("/home/ann/.ssh/known_hosts")
    );
    assert_eq!(host.host_key_check, HostKeyCheck::Strict);
    assert_eq!(host.connect_timeout, CONNECT_TIMEOUT);
}

#[test]
fn a_proxy_command_is_refused_unless_the_inventory_says_how_to_get_there() {
    let config = HostConfig::parse("proxycommand nc %h %p\n", &around());
    let mut target = Target::new("m1", "m1");
    let error = resolve(&target, config.clone(), &around()).unwrap_err();
    assert!(
        error.to_string().contains("`ProxyCommand nc %h %p`"),
        "{error}"
    );
    target.jump = Some(vec!["bastion".to_owned()]);
    assert_eq!(
        resolve(&target, config, &around()).unwrap().jump,
        ["bastion"]
    );
}

#[test]
fn strange_lines_are_no_trouble() {
    for text in [
        "",
        "port\n",
        "port many\n",
        "\u{0}",
        "user none\nproxyjump none\nidentityfile none",
    ] {
        assert_eq!(
            HostConfig::parse(text, &around()),
            HostConfig::default(),
            "{text:?}"
        );
    }
}

#[test]
fn jump_hosts_are_read() {
    let read = |text| Jump::parse(text).map(|jump| (jump.user, jump.host, jump.port));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(read("b").unwrap(), (None, "b".to_owned(), None));
    assert_eq!(
        read("u@b:22").unwrap(),
        (some("u"), "b".to_owned(), Some(22))
    );
    assert_eq!(read("a@b@c").unwrap(), (some("a@b"), "c".to_owned(), None));
    assert_eq!(
        read("[fd00::1]:7").unwrap(),
        (None, "fd00::1".to_owned(), Some(7))
    );
    assert_eq!(read("fd00::1").unwrap(), (None, "fd00::1".to_owned(), None));
    for bad in [
        "",
        "@b",
        "u@",
        "b:x",
        "b:99999",
        "[fd00::1",
        "-oProxyCommand=x",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_name_that_looks_like_an_option_never_reaches_ssh() {
    let error = query("-oProxyCommand=id", None, None, None, &around()).await;
    assert!(error.is_err());
}

#[test]
fn the_command_line_is_that_of_the_same_host() {
    let mut target = Target::new("m1", "10.0.0.1");
    target.known_hosts = Some("/k".into());
    target.identity = vec!["/nowhere/key".into()];
    target.jump = Some(vec!["b1".to_owned(), "b2".to_owned()]);
    let host = resolve(&target, HostConfig::default(), &around()).unwrap();
    let argv = super::super::command_line(&host, &["uptime".to_owned()]);
    let options = "ssh -o UserKnownHostsFile=/k -o StrictHostKeyChecking=yes -o ConnectTimeout=15";
    assert_eq!(
        argv.join(" "),
        format!(
            "{options} -p 22 -l ann -o ProxyCommand={options} -o 'ProxyCommand={options} \
             -W b2:22 -- b1' -W 10.0.0.1:22 -- b2 -- 10.0.0.1 uptime"
        ),
        "each bastion gets the same keys and known hosts"
    );
}
