"""What the test harness puts behind services that are otherwise as Debian ships them."""
