"""`noncestr verify`: where the log comes from, who hashes, how the report is shown."""
