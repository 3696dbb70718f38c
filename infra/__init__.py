"""Everything around the services: servers for a bare machine, images, migrations, topics, the command line."""
