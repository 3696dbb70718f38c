"""What writes the schemas, the golden examples and the AsyncAPI document from the catalogue. Never imported at run time."""
