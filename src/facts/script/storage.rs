//! The sections about disks.

use crate::shell;

/// The sections that were asked for, in the order of the probes.
#[derive(Default)]
pub(super) struct Sections {
    list: Vec<String>,
    mounts: bool,
    devices: usize,
    directories: usize,
    candidates: usize,
}

impl Sections {
    /// What there is, once for all of them.
    fn mounts(&mut self) {
        if !self.mounts {
            self.mounts = true;
            self.list.push(MOUNTS.to_owned());
        }
    }

    pub(super) fn device(&mut self, path: &str) {
        self.mounts();
        let index = self.devices;
        self.devices += 1;
        let path = shell::quote(path);
        self.list.push(format!("device_section {index} {path}\n"));
    }

    pub(super) fn lvm(&mut self) {
        self.list.push(LVM.to_owned());
    }

    pub(super) fn directory(&mut self, path: &str) {
        self.mounts();
        let index = self.directories;
        self.directories += 1;
        let path = shell::quote(path);
        self.list
            .push(format!("directory_section {index} {path}\n"));
    }

    pub(super) fn drop_ins(&mut self, unit: &str) {
        let folder = shell::quote(&format!("/etc/systemd/system/{unit}.d"));
        self.list.push(DROP_INS.replace("@FOLDER@", &folder));
    }

    pub(super) fn candidate(&mut self, package: &str) {
        let index = self.candidates;
        self.candidates += 1;
        let package = shell::quote(package);
        self.list.push(format!(
            "begin candidate{index}\nif command -v apt-cache >/dev/null; then guard 10 apt-cache policy {package}; end candidate{index} $?\nelse end candidate{index} 10; fi\n"
        ));
    }

    pub(super) fn sections(self) -> Vec<String> {
        self.list
    }
}

const MOUNTS: &str = concat!(include_str!("volume.sh"), include_str!("storage.sh"));

/// Reads LVM as it is now; `lvm` itself tells when it is not there.
const LVM: &str = r"begin lvm
if command -v lvm >/dev/null; then
  options='--reportformat json --units b --nosuffix'
  guard 15 pvs $options -o pv_name,pv_uuid,vg_name,dev_size,pv_size &&
  guard 15 vgs $options -o vg_name,vg_tags,vg_size,vg_free,vg_extent_size,vg_missing_pv_count &&
  guard 15 lvs $options -o vg_name,lv_name,lv_tags,lv_size,segtype,data_percent,metadata_percent,seg_monitor,lv_profile,chunk_size
  end lvm $?
else
  end lvm 10
fi
";

const DROP_INS: &str = r#"index=0
for file in @FOLDER@/*.conf; do
  [ -e "$file" ] || continue
  if [ ! -r "$file" ]; then index=unreadable; break; fi
  begin "dropin$index"; printf '%s\n' "$file"; cat "$file"; end "dropin$index" $?
  index=$((index + 1))
done
begin dropins; printf '%s\n' "$index"; end dropins 0
"#;
