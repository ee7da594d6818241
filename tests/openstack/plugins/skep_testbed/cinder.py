"""A Cinder driver whose volumes are sparse files: it needs no device-mapper, iSCSI or NFS.

libvirt attaches such a file as it is. The type of connection for that is GPFS's, whose volumes are
files in a mounted folder.
"""

import os
import subprocess

from cinder import interface
from cinder.image import image_utils
from cinder.volume import driver
from oslo_config import cfg

GB = 1 << 30


@interface.volumedriver
class FileDriver(driver.VolumeDriver):
    """Volumes and snapshots are files of the same folder, each with its own name."""

    VERSION = "1.0"
    CI_WIKI_NAME = "none"

    def do_setup(self, context):
        self.folder = os.path.join(cfg.CONF.state_path, "volumes")

    def check_for_setup_error(self):
        os.makedirs(self.folder, exist_ok=True)

    def local_path(self, thing):
        return os.path.join(self.folder, thing["name"])

    def create_volume(self, volume):
        self._grow(volume, volume["size"])

    def extend_volume(self, volume, size):
        self._grow(volume, size)

    def create_snapshot(self, snapshot):
        self._copy(snapshot["volume"], snapshot)

    def create_volume_from_snapshot(self, volume, snapshot):
        self._copy(snapshot, volume)
        self._grow(volume, volume["size"])

    def create_cloned_volume(self, volume, source):
        self._copy(source, volume)
        self._grow(volume, volume["size"])

    def delete_volume(self, volume):
        try:
            os.unlink(self.local_path(volume))
        except FileNotFoundError:
            pass  # It was never made, or an earlier try removed it.

    def delete_snapshot(self, snapshot):
        self.delete_volume(snapshot)

    def copy_image_to_volume(self, context, volume, image_service, image_id, **_):
        image_utils.fetch_to_raw(
            context,
            image_service,
            image_id,
            self.local_path(volume),
            "1M",
            size=volume["size"],
        )
        self._grow(volume, volume["size"])

    def copy_volume_to_image(self, context, volume, image_service, image_meta):
        image_utils.upload_volume(
            context, image_service, image_meta, self.local_path(volume), volume
        )

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def remove_export(self, context, volume):
        pass

    def initialize_connection(self, volume, connector, **_):
        return {
            "driver_volume_type": "gpfs",
            "data": {
                "name": volume["name"],
                "device_path": self.local_path(volume),
                "mount_point_base": self.folder,
            },
        }

    def terminate_connection(self, volume, connector, **_):
        pass

    def _update_volume_stats(self):
        # The quota says how much there is. The files are sparse: the disk's room would be a guess.
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name"),
            "vendor_name": "skep",
            "driver_version": self.VERSION,
            "storage_protocol": "file",
            "total_capacity_gb": 10000,
            "free_capacity_gb": 10000,
            "provisioned_capacity_gb": 0,
            "reserved_percentage": 0,
            "thin_provisioning_support": True,
            "max_over_subscription_ratio": 20.0,
            "multiattach": False,
        }

    def _copy(self, source, target):
        command = ["cp", "--sparse=always", "--reflink=auto"]
        subprocess.run(
            [*command, self.local_path(source), self.local_path(target)], check=True
        )

    def _grow(self, volume, size):
        with open(self.local_path(volume), "ab") as file:
            file.truncate(size * GB)
