//! What a server prints on its console when it boots: the keys of its sshd.

/// The lines between which cloud-init prints the public keys.
const BEGIN: &str = "-----BEGIN SSH HOST KEY KEYS-----";
const END: &str = "-----END SSH HOST KEY KEYS-----";

/// The public keys of sshd that a console's text holds, each as in a `.pub` file; `None` while there
/// is no whole block of them.
///
/// Whoever can log in can print such a block too: only a text of a server's first boot, before
/// anybody could, proves anything. A server that booted again prints them again; so where there are
/// several blocks the first counts.
pub fn host_keys(text: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        // Consoles put carriage returns at the ends, and a logger's words in front.
        let line = line.trim();
        if line.ends_with(BEGIN) {
            inside = true;
            keys.clear();
        } else if line.ends_with(END) && inside {
            return (!keys.is_empty()).then_some(keys);
        } else if inside && let Some(key) = key(line) {
            keys.push(key);
        }
    }
    None
}

/// The key of a line, without what stands in front of it.
fn key(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let kind = words.iter().position(|word| {
        word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-") || word.starts_with("sk-")
    })?;
    let [kind, data, ..] = words[kind..] else {
        return None;
    };
    // A line that the kernel wrote into is no key any more.
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    (data.starts_with("AAAA") && data.chars().all(base64)).then(|| format!("{kind} {data}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_a_boot_of_debian() {
        let text = include_str!("console/debian-12.txt");
        let keys = host_keys(text).unwrap();
        let kinds: Vec<&str> = keys
            .iter()
            .filter_map(|key| key.split(' ').next())
            .collect();
        assert_eq!(kinds, ["ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa"]);
        for key in &keys {
            russh::keys::parse_public_key_base64(key.split(' ').nth(1).unwrap()).unwrap();
        }
    }

    #[test]
    fn half_a_block_is_none() {
        let text = include_str!("console/debian-12.txt");
        let (half, _) = text.split_once(END).unwrap();
        assert_eq!(host_keys(half), None);
        assert_eq!(host_keys(""), None);
        assert_eq!(host_keys(&format!("{BEGIN}\n{END}\n")), None);
    }

    #[test]
    fn a_second_block_does_not_count() {
        let text = include_str!("console/debian-12.txt");
        let other = format!("{text}\n{BEGIN}\nssh-ed25519 AAAAforged x\n{END}\n");
        assert_eq!(host_keys(&other), host_keys(text));
    }

    #[test]
    fn a_line_that_was_written_into_is_no_key() {
        assert_eq!(key("ssh-rsa AAAA[   12.3] virtio root@x"), None);
        assert_eq!(key("ci-info: no authorized keys"), None);
    }
}
