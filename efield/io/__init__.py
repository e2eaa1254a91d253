"""Read and write files as plain records; nothing here knows about heads or coils."""
