"""What the public modules stand on; nothing here is part of the API."""
