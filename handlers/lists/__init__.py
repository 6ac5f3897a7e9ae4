"""What lists have in common: filters, sorting, cursors and the selection of fields. Of SQL it knows fixed fragments only."""
