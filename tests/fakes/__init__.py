"""Real servers on loopback, started and ended by the tests: no mocks of our own modules."""
