"""Pages of organizations, teams, projects and principals."""
