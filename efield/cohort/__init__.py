"""One study over many subjects: who they are, one of them, where they run, all of them."""
