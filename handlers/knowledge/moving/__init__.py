"""Knowledge bases as they leave a hub and come into another: lines of JSON, and tables for people."""
