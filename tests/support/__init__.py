"""What the tests are made with: servers, clients and the tree that a client keeps."""
