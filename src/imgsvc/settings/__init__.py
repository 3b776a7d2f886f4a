"""Every setting, of the service and of the commands that use one."""
