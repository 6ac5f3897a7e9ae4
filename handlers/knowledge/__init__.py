"""Knowledge bases: records and documents that questions are answered from."""
