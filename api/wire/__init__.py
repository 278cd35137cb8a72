"""What stands on the wire: headers, parameters, bodies, pages and answers of the HTTP API."""
