"""Knowledge bases that leave as a long answer, and come in as a long body: neither is ever held as a whole."""
