"""Docker's API: one connection for each conversation, and what it says as plain records."""
