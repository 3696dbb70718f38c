update :schema.epochs set compared = true where epoch = $1
